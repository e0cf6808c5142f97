"""The decision engine: pure functions over immutable values. No I/O, no clock, no environment; it imports nothing of the rest."""
