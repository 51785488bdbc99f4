"""Pure decisions: what is wanted and what was observed in, steps out. No clouds, no database, no engine."""
