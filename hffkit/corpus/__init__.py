"""Commands on corpora: build, pack, unpack, merge, mix, subset, inspect and verify."""
