"""What is suspicious about a run: small functions that look at what it left."""
