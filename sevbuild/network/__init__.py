"""Inputs by URL: one bounded GET, and the cache of what it brought."""
