"""The logit lens: what a model would say if it stopped after any block."""
