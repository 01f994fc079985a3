"""From videos and pictures to face samples: sources, frame plans, detection, units of work."""
