"""The .lucid file: a header, blocks that can be read by themselves, and proof that they are what was written."""
