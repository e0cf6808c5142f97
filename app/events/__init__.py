"""Server-sent events: what the record of a hospital gains (decisions, steps of overrides, changes), as it gains it. The number of the chain's
entry is the event's id, so that a reader resumes on any worker without loss."""
