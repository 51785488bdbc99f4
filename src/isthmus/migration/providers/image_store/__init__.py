"""Disk images, OVA archives and OVF packages in Glance, or in a container of an object store (Swift)."""
