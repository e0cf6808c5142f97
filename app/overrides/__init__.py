"""The emergency override after it was declared: its life, its review, what recurs among overrides, reminders."""
