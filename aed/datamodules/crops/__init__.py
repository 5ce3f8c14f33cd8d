"""Crops of training clips with waveform augmentation: made once by a seed, kept in the cache."""
