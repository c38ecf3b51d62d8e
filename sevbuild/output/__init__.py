"""Writing: every output is complete or absent, and nothing of others is lost for it."""
