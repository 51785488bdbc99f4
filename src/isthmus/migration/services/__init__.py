"""The services beside the API: the conductor, which knows the database, and workers, which know the clouds."""
