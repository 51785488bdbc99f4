"""Container networking: containers, virtual machines and bare metal on the ports of Neutron networks."""
