"""The share manager: one or more processes a back end."""
