"""What a deck's owner lets his own observability know: traces, metrics, log lines; derived from the journal alone."""
