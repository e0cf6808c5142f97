"""What the medical affairs office does with privileges: grants added, suspended, resumed, revoked, renewed; people and technologies stopped."""
