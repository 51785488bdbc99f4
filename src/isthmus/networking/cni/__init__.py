"""The Container Network Interface: what the small executable asks of the agent."""
