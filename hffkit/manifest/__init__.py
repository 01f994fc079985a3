"""What is known about the samples of a corpus; no pixels."""
