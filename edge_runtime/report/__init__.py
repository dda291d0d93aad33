"""What a model is worth on this device: quality, loss against the teacher, time and heat."""
