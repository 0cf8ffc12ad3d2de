"""Model calls behind a small port; one way to each provider's server; a scripted model that speaks theirs."""
