"""Scores of checkpoints on named data sets, and what scoring leaves behind."""
