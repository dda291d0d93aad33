"""The training loop: a config in, checkpoints out."""
