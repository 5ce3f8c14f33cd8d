"""Pictures of a run, drawn from the numbers in its files: a kind of picture a file, each a figure and its PNG."""

from aed.scoring.pictures.curves import plot_curves
from aed.scoring.pictures.layers import plot_layers
from aed.scoring.pictures.rejection import plot_rejection
from aed.scoring.pictures.robustness import plot_robustness
from aed.scoring.pictures.split import plot_scores

__all__ = ["plot_curves", "plot_layers", "plot_rejection", "plot_robustness", "plot_scores"]
