"""Damaged instruments and checkpoints: proof that a claim can fail."""
