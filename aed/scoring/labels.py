"""Names that stand for no class of the user's."""

OTHER = "other"
"""The class for sounds that are none of the others (``garbage_class``), as ST's zoo names it."""

BACKGROUND = "background"
"""The class for time in which nothing happens (``negatives``, ``soundscape_hours``): no event, and never an alarm."""

UNKNOWN = "unknown"
"""The label of a row that is decided to be none of the classes."""
