"""The search for a student within a budget of bytes and quality."""
