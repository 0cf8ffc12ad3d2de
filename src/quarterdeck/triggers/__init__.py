"""What starts runs from outside, and where their results go: webhooks, the clock, GitHub, messages to people."""
