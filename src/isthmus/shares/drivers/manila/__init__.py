"""Runs a share driver written for OpenStack Manila, unchanged, without Manila's services, database or message bus."""
