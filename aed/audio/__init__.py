"""Audio files: which files are recordings, and their samples."""
