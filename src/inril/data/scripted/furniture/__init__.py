"""Scripted experts of the furniture tasks: one file per piece of furniture, `arm` and `screwing` are what they share."""
