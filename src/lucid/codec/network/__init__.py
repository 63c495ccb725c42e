"""A model's walk as one graph of integer-exact arithmetic: the same numbers on every machine."""
