"""Durable workflows: run the planned steps, and undo them."""
