"""Datasets: found or made, read as text, cleaned, typed, and given a fingerprint."""
