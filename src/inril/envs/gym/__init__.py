"""Gym's locomotion tasks."""
