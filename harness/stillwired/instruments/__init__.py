"""One module per method of a paper."""
