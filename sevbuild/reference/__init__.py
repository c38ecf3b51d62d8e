"""Reference values as documents."""
