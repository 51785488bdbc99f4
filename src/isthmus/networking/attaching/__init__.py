"""Attachments from reservation to release, warm ports, and the repairs: what both protocols stand on."""
