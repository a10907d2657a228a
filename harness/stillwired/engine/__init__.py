"""Read and edit forward passes, through nnsight."""
