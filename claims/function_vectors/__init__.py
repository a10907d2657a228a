"""Function vectors: how a few heads carry what a task asks for, and hand it on as one vector."""
