"""Floor 3: model calls behind a small port; one file a vendor SDK; a scripted model that speaks their wire formats."""
