"""The whole control plane on one machine: real MariaDB, Keystone, Barbican and Temporal, supervised."""
