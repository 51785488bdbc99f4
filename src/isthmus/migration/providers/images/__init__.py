"""Disk images and OVA/OVF packages in a directory, as source and as destination."""
