"""Streams made of the clips of a split in background sound: to score on, and to train on."""
