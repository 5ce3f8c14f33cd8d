"""The verb search: many trainings, chosen by an optimiser, for the best net within a board's budget."""
