"""The processes of a service: what is prepared before it starts, the supervisor, its workers."""
