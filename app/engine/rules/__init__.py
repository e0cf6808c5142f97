"""The rules, grouped by what they look at. Each is one small function with its reason code; `engine.checkpoints` says which run where."""
