"""Figures: functions from a table to a matplotlib ``Figure``, in one look."""
