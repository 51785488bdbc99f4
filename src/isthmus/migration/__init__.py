"""Migration: moves virtual machines between clouds; speaks the Coriolis REST API v1."""
