"""From launch plans to launch digests, each byte hashed once."""
