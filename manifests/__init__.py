"""Published facts as data: which video of FaceForensics++ is in which split and pair."""
