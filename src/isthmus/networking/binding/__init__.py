"""Plugging an interface into what carries a port: one module for each kind, one contract."""
