"""Share drivers: the contract, and one package or module for each kind of back end."""
