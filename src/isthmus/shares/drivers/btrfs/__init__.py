"""Shares as subvolumes of one btrfs: exact quotas, instant snapshots and clones, on one machine."""
