"""One function for each verb of the command line, and the engine that spreads the work."""
