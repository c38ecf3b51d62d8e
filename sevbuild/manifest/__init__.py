"""Decode, locate, validate and expand what a publisher declares."""
