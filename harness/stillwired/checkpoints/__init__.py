"""Find, fetch, verify and load checkpoints; know their anatomy."""
