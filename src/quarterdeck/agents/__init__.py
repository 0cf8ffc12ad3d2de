"""The agents: their definitions, the harnesses that execute them, and the action gate they act through."""
