"""Spreading work over processes and machines, and surviving the loss of workers."""
