"""Tests of the formats that reference values are published in."""
