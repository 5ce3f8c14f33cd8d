"""Scores of events: detections with onset and offset against references.

``lists.py`` holds the events of many recordings; ``counts.py`` what is counted and the ratios of it; ``collars.py``
matches events by their onsets and offsets, ``segments.py`` compares pieces of one second, ``intersection.py`` times
that events share (PSDS), ``alarms.py`` alarms of a device and their rate, ``stream.py`` has all of it together.
"""
