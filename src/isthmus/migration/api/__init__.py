"""The Coriolis v1 resources and their schemas."""
