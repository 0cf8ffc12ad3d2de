"""One database behind a small port. It knows rows and transactions, nothing of events or jobs."""
