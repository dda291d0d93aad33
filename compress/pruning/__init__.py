"""Pruning: channels out of a network, to a narrower one of the same kind."""
