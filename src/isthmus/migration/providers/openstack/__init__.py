"""OpenStack clouds: machines of Nova with volumes of Cinder on networks of Neutron."""
