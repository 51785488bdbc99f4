"""What this host's agent has attached: its own SQLite file, with named statements and guarded moves."""
