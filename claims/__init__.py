"""Published findings, one folder per paper, one file per finding."""
