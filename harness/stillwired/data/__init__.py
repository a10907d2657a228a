"""Text to read: where it comes from, how it is split and sampled."""
