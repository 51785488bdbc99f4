"""Docker's remote network and IPAM drivers."""
