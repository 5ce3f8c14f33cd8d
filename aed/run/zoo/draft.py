"""An experiment in the making: what a document's keys become, and a word on each."""

from dataclasses import dataclass, field
from typing import Any

from aed.base.console import printable
from aed.base.errors import AedError
from aed.base.overrides import in_hydra, nearest
from aed.run.zoo.document import Document
from aed.run.zoo.keys import FIXED, Kind


@dataclass(frozen=True)
class Note:
    """What becomes of a key.

    Args:
        kind: One of :data:`aed.run.zoo.keys.KINDS`.
        path: The key, as in the file.
        value: Its value as text.
        text: What it is here, or what to do.
    """

    kind: Kind
    path: str
    value: str
    text: str


@dataclass
class Draft:
    """An experiment that grows section by section.

    Args:
        document: Where it is from.
        exact: Whether the zoo's ways are kept where there are better ones.
        groups: Group of configs -> choice.
        values: Dotted key -> value.
        words: Of the command that trains.
        notes: Key of version 3 -> what becomes of it.
    """

    document: Document
    exact: bool = False
    groups: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    notes: dict[str, Note] = field(default_factory=dict)

    def note(self, kind: Kind, key: str, text: str) -> None:
        """Says what becomes of a key, if the document has it."""
        if key in self.document.leaves:
            leaf = self.document.leaves[key]
            self.notes[key] = Note(kind, leaf.path, printable(str(leaf.value)), text)

    def set(self, key: str, name: str, value: Any) -> None:
        """Maps a key of the document to a value of the experiment; nothing if the value is None."""
        if value is not None:
            self.values[name] = value
            self.note("mapped", key, f"{name}={in_hydra(value)}")

    def choose(self, key: str, group: str, choice: str) -> None:
        """Maps a key of the document to a choice of a group of configs."""
        self.groups[group] = choice
        self.note("mapped", key, f"{group}={choice}")

    def fail(self, key: str, text: str) -> AedError:
        """The error that a value of the document is."""
        return AedError(f"{self.document.name}: {self.document.path(key)}: {text}")

    def one_of(self, key: str, known: dict[str, Any], default: Any = None) -> Any:
        """What a name of the document stands for; ``default`` where it has none.

        Raises:
            AedError: The name is not known.
        """
        name = self.document.text(key)
        if name is None:
            return default
        if name.lower() in known:
            return known[name.lower()]
        near = nearest(name, known)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise self.fail(key, f"need one of {', '.join(known)}, got {printable(name)}{hint}")

    def finish(self) -> None:
        """Says what is said of a key whatever its value is, for all without a word so far."""
        for key in self.document.leaves.keys() - self.notes.keys():
            section = key.partition(".")[0]
            usual: tuple[Kind, str] = ("none", "keys of another library; nothing here reads them")
            if section == "hydra":
                usual = ("better", "outputs/<experiment>/<time>; hydra.run.dir=... is another folder")
            self.note(*(FIXED.get(key) or usual)[:1], key, (FIXED.get(key) or usual)[1])
