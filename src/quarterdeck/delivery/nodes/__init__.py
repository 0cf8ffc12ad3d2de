"""The nodes of a run's blueprint: what the jobs of runs and attempts perform, and what is brought together for it."""
