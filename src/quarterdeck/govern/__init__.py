"""Who may do what, and for how much."""
