"""Records on disk: the Datum codec, LMDB, finished parts, and the corpus folder."""
