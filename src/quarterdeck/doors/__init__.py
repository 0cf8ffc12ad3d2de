"""Doors: they expose, they do not decide."""
