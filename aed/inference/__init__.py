"""Predictions of a model for recordings: one interface for every kind of model, and writers of the output."""
