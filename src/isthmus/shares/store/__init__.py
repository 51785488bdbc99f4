"""Guarded reads and writes of the tables, by name."""
