"""What every layer may use: errors, paths, files, downloads, processes, words one can type."""
