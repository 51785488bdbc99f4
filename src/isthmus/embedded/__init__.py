"""The real MariaDB, Keystone, Barbican and Temporal, and Isthmus's own services, started and kept alive on one machine."""
