"""Shared by every layer: errors, paths, files, downloads, processes, optional packages, command-line overrides."""
