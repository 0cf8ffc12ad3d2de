"""Figures of our own beside those of peers, and the scripts that make real input for them. Not shipped."""
