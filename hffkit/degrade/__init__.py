"""Post-processing operations: Table IX of the AMTENnet paper, and what people add to it."""
