"""Units of build work: frames, alignment and crops of videos and images."""
