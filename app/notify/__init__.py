"""What the medical affairs office is told of an override, and how it gets there: put out in the transaction that makes it true, delivered
afterwards until it is acknowledged."""
