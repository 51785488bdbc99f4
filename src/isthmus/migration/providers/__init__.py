"""One package for each cloud. A provider is found by entry point (group `isthmus.migration.providers`)."""
