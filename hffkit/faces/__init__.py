"""Face detection, landmarks, outlines, and the search for faces in files."""
