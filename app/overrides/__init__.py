"""The emergency override after the answer has left: opened with its decision, reported, taken over, reviewed by somebody else."""
