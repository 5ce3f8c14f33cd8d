"""Audio files: which files are recordings, and reading their samples."""
