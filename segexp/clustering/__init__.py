"""Segments without given labels: clusterers, how good and how stable they are, how many."""
