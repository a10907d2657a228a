"""Future Lens: how much of the coming text one hidden state already holds."""
