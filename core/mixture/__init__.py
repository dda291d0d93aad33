"""Training samples: crops from a weighted mixture of pairs, rained-on and dry pictures."""
