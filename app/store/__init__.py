"""The store: tables, repositories, the change log and the group-commit writer of the record."""
