"""Names of what lies in the folder of a search."""

MARK = ".search"
"""Says that it is one; another folder with files is not written to."""

TRIALS, RESULTS, PICTURE = "trials.csv", "search.json", "pareto.png"
"""What people read."""

FIRMWARE = "firmware"
"""The C library of the best net."""
