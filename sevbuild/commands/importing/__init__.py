"""The way back: from a launch or measuring command to the manifest of its guest."""
