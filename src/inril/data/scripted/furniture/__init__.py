"""Scripted experts of the furniture tasks: a file per piece of furniture, and the phases that they share."""
