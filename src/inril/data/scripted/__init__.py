"""Scripted experts for the Robomimic tasks, and the demonstrations made with them."""
