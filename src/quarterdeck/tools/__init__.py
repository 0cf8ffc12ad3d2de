"""What an agent can do. Only the action gate calls a tool."""
