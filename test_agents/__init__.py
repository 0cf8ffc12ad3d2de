"""Real command lines of agents, unmodified, carried by Quarterdeck to merged commits before the scripted model."""
