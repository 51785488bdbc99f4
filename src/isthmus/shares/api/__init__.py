"""The Manila v2 API: versions, resources, what they answer."""
