"""What the deck shows live, as pure folds beside thin readers."""
