"""The report of a run, a sweep or a comparison: one HTML file for managers and statisticians."""
