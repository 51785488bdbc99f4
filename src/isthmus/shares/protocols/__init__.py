"""The servers that shares are reached through: NFS-Ganesha and Samba."""
