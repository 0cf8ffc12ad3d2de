"""The model gateway: the one door for model calls."""
