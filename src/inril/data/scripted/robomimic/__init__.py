"""Scripted experts of the Robomimic tasks."""
