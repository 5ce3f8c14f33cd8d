"""Pictures of a run, drawn from the numbers in its files: a kind of picture a file, each a figure and its PNG."""
