"""The disk engine: copies what changed from one NBD export to another, verified, resumable, in constant memory."""
