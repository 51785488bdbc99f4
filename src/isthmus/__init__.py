"""Isthmus joins clouds: it moves machines, their shared file systems and their networks between them."""

__version__ = "0.1.0"
