"""What a model is, and which file is taken for a name."""
