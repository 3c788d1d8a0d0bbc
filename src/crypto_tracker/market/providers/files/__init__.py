"""Bars in files: whose they are by name, what they hold by layout, one file at a time."""
