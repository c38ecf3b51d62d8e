"""What gets launched: bundles, launch commands, and the way back from them to a manifest."""
