"""Floor 3: who may do what, and for how much."""
