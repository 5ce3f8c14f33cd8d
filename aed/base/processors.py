"""Processors of this machine."""

import os
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")


def num_cores(topology: Path = _TOPOLOGY) -> int | None:
    """Cores that this process may run on, threads of one core counted once; None where the system does not tell.

    Args:
        topology: Folder in which Linux describes its processors.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    return len({_core(topology, number) for number in os.sched_getaffinity(0)})


def _core(topology: Path, number: int) -> str:
    """The processors that share the core of one, as Linux lists them; itself alone where nothing is said."""
    try:
        return (topology / f"cpu{number}" / "topology" / "thread_siblings_list").read_text(encoding="ascii").strip()
    except OSError:
        return str(number)
