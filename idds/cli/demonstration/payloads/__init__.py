"""What the processings of the demo run: scripts, started by their path."""
