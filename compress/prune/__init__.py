"""Take channels out of a network: a narrower one of the same kind."""
