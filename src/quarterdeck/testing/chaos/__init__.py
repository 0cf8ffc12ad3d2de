"""Killing a deck, again and again, and holding what is left against what an undisturbed run leaves."""
