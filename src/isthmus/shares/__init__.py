"""Shared file systems as a service: the Manila v2 API on real file systems."""
