"""Why a launch digest is another: explain, diff, replay."""
