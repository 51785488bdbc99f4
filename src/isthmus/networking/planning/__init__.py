"""Pure: what should be attached + what was observed -> repairs."""
