"""Pure decisions: what is wanted and what was observed become steps. Nothing here reads, writes or waits."""
