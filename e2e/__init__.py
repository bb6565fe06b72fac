"""Real clients against the real daemon: nothing in here is a fake."""
