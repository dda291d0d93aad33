"""Models: the card of one, and the file that a name stands for."""
