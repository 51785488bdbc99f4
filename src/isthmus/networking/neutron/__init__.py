"""Every call to Neutron, typed: networks, subnets, pools, ports, security groups, floating IPs."""
