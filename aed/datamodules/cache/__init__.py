"""The feature cache: log-mels on disk, computed once per (file content, front end)."""
