"""AudioSet's ontology of sounds: what is above and below a class, and labels without what they imply.

J. F. Gemmeke et al., Audio Set: an ontology and human-labeled dataset for audio events, ICASSP 2017. Classes are
known by their mid (``/m/0bt9lr``); a class may stand below several others.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from aed.base.errors import AedError

log = logging.getLogger(__name__)


class Ontology:
    """A directed graph of classes, from the general to the special.

    Args:
        children: Mid of a class -> mids of the classes directly below it.
    """

    def __init__(self, children: Mapping[str, Iterable[str]]) -> None:
        self._children = {mid: frozenset(below) for mid, below in children.items()}
        parents: dict[str, set[str]] = {mid: set() for mid in self._children}
        for mid, below in self._children.items():
            for child in below:
                parents.setdefault(child, set()).add(mid)
        self._parents = {mid: frozenset(above) for mid, above in parents.items()}
        self._ancestors: dict[str, frozenset[str]] = {}

    @classmethod
    def read(cls, path: Path) -> Self:
        """The ontology of a file in the format of github.com/audioset/ontology.

        Args:
            path: JSON: a list of objects with ``id`` and ``child_ids``.

        Raises:
            AedError: The file is missing or no such list.
        """
        try:
            entries = json.loads(path.read_text(encoding="utf-8-sig"))
            children = {entry["id"]: entry["child_ids"] for entry in entries}
        except OSError as error:
            raise AedError(f"{path}: cannot be read ({error.strerror}); need AudioSet's ontology.json") from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise AedError(f"{path}: need AudioSet's ontology.json, a list of {{id, child_ids}}; {error!r}") from error
        for mid, below in children.items():
            if not (isinstance(mid, str) and isinstance(below, list) and all(isinstance(item, str) for item in below)):
                raise AedError(f"{path}: class {mid!r}: need a text as id and a list of texts as child_ids")
        if not children:
            raise AedError(f"{path}: need AudioSet's ontology.json, got an empty list")
        return cls(children)

    def __contains__(self, mid: object) -> bool:
        return mid in self._parents

    def ancestors(self, mid: str) -> frozenset[str]:
        """All classes properly above ``mid``, at any distance; none for a class that is not in the ontology.

        Classes on a cycle with ``mid`` are as general as itself and not above it.
        """
        if mid not in self._ancestors:
            self._ancestors[mid] = _reached(self._parents, mid) - _reached(self._children, mid) - {mid}
        return self._ancestors[mid]

    def descendants(self, mid: str) -> frozenset[str]:
        """All classes properly below ``mid``, at any distance; none for a class that is not in the ontology."""
        return _reached(self._children, mid) - _reached(self._parents, mid) - {mid}

    def unsmear(self, mids: Iterable[str]) -> tuple[str, ...]:
        """The most special of ``mids``: those that are above no other, each once, in the order of ``mids``.

        Classes between the two need not be among ``mids``. At least one is left of any set that is not empty.
        """
        unique = tuple(dict.fromkeys(mids))
        implied = frozenset[str]().union(*map(self.ancestors, unique))
        return tuple(mid for mid in unique if mid not in implied)

    def unsmear_all(self, label_sets: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """:meth:`unsmear` of each of many sets; equal ones are worked out once.

        A mid that is not in the ontology stays; a single warning has their number.
        """
        known = {mids: self.unsmear(mids) for mids in set(label_sets)}
        if strange := {mid for mids in known for mid in mids if mid not in self}:
            number = sum(not strange.isdisjoint(mids) for mids in label_sets)
            log.warning(
                "%d mids are not in the ontology and stay as they are, in %d clips; e.g. %s",
                len(strange),
                number,
                min(strange),
            )
        return [known[mids] for mids in label_sets]


def _reached(edges: Mapping[str, frozenset[str]], start: str) -> frozenset[str]:
    """All that can be reached from ``start`` in one step or more."""
    reached: set[str] = set()
    border = set(edges.get(start, ()))
    while border:
        reached |= border
        border = set().union(*(edges.get(mid, ()) for mid in border)) - reached
    return frozenset(reached)
