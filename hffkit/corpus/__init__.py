"""Commands on corpora: build, pack, merge, mix, subset, inspect and verify."""
