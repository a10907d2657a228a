"""Content-addressed cache and the wheels that come with it."""
