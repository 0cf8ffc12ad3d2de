"""Floor 2: a durable job queue behind a small port."""
