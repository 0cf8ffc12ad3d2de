"""The HTTP API: everything that the command line can do, below `/api/v1`."""
