"""Where agents work. Sandboxes, git mirrors, workspaces, environments."""
