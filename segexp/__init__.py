"""Config-driven experiments for customer segmentation."""

__version__ = "0.1.0"
