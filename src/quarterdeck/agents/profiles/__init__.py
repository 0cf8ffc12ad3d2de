"""How agents that people already use are started in a sandbox: one file a CLI, pure data and pure functions."""
