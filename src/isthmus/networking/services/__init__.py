"""The agent's process and its sockets."""
