"""Clip sources: one file a kind of data set, and how lists, names and annotations are read."""
