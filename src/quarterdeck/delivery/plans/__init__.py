"""What a plan says: read from a file, checked, as a graph; which files a task may change, and whose they are. Pure."""
