"""The IGVM format: reading, writing, and what each loader makes of a file."""
