"""The append-only record of what happened, and the read tables that follow from it."""
