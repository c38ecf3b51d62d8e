"""Declare a confidential guest, lay it out and measure it."""

__version__ = "0.1.0"
