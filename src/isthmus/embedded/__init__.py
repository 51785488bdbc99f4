"""The whole control plane on one machine: real servers and Isthmus's own services, started and kept alive."""
