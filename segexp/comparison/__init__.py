"""Runs side by side: what can be ranked together, and which differences are more than luck."""
