"""The demo: the whole main job on a sample repository, with a scripted model and everything else real."""
