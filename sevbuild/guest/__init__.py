"""From a manifest on disk to plans and digests: what every verb calls."""
