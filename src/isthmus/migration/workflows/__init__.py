"""Durable work: workflow definitions, and the activities that they call on the conductor and on workers."""
