"""What the services read from and write to the database; every change of a status is guarded."""
