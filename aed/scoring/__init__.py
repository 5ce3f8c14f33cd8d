"""Decision rules, scores, curves, calibration and rejection; their tables and pictures."""
