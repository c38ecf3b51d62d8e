"""Launch commands, written and read back."""
