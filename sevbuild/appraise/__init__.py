"""Is this guest my release? Evidence and certificates from files, what was published, and a verdict."""
