"""Rain rendered from its physics: streaks at several depths, veil and camera."""
