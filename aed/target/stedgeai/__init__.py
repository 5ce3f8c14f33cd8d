"""ST's command-line tool as a backend: ``stedgeai`` (ST Edge AI Core), before it ``stm32ai`` (X-CUBE-AI).

No real tool was at hand: what is said of its options and output comes from ST's documents and from logs and command
lines that others published. What is not even in these is marked "not tried on the real tool".
"""

from aed.target.stedgeai.backend import StEdgeAi, Validation
from aed.target.stedgeai.find import Tool, Version, find_tool

__all__ = ["StEdgeAi", "Tool", "Validation", "Version", "find_tool"]
