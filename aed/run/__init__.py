"""A run and its stages, one file a stage, named as the verb."""
