"""Where in a picture a network sees what it answers by."""
