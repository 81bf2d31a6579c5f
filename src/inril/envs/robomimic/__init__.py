"""Robomimic's tasks."""
