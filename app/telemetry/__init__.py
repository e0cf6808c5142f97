"""What the operations office sees: counters that all workers share, and structured logs. No patient identifier is in either."""
