"""Post-processing operations: those of Table IX of the AMTENnet paper, and others."""
