"""The page in the browser that shows what is under way."""
