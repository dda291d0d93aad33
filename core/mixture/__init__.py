"""What a training step sees: crops from a weighted mixture of pairs, rained-on and dry."""
