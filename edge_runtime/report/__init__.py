"""Models on this device: quality, loss against the teacher, speed, memory and heat."""
