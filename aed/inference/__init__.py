"""What a model says of recordings: one face for every kind of model, predictions, their output."""
