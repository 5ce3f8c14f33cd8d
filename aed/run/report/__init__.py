"""The report of runs: one HTML file to read, to listen to and to pass on; it loads nothing from anywhere."""
