"""The libvirt/KVM provider: any libvirtd by its URI, as source and as destination."""
