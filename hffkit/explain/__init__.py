"""Where in an image a network sees what it answers by."""
