"""Floor 3: where agents work. Sandboxes, git mirrors, workspaces, environments."""
