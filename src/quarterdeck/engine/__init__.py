"""A durable job queue behind a small port."""
