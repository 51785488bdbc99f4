"""OS morphing: takes the source cloud's lock-in out of a guest and makes it boot on the destination."""
