"""From checkpoint to artifact: files that inference engines run, proven equal to their network."""
