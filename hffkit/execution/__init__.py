"""Work spread over processes and machines, which survives the loss of workers."""
