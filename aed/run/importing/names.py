"""Class names in the order of a model's outputs: from the command line, a file, ST's YAML or the model itself."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.run.zoo.document import Document
from aed.scoring.labels import OTHER

ClassOrder = Literal["sorted", "given"]

WAYS = "class_names=[dog,rain,...], a file of them, or st_config=user_config.yaml"
"""How a user names the classes."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What is known of a model beside its file.

    Args:
        names: Class names in the order of the outputs; (): none are given.
        frontend: Front end; None: none is given.
    """

    names: tuple[str, ...]
    frontend: FrontendConfig | None


def class_names(source: list[str] | str | None, order: ClassOrder | None, settings: Document | None) -> tuple[str, ...]:
    """Class names in the model's order; () where there are none.

    Args:
        source: Names, or a file of them.
        order: ``sorted``: the model's outputs are, as in ST's zoo; ``given``: as ``source`` has them; None: refuses
            names for which that makes a difference.
        settings: Has names, which ST's zoo sorts.

    Raises:
        AedError: They are no names, or their order is not clear.
    """
    if order not in (None, "sorted", "given"):
        raise AedError(f"class_order: need sorted or given, got {order!r}")
    if source is None:
        return tuple(sorted(_of_settings(settings))) if settings else ()
    names: Any = _read(Path(source)) if isinstance(source, str) else source
    _check("class_names", names)
    if order is None and names != sorted(names):
        raise AedError(
            "class_names: not in alphabetical order; class_order=sorted: the model's outputs are, as ST's zoo sorts "
            "them; class_order=given: the outputs come as they stand here"
        )
    return tuple(names if order == "given" else sorted(names))


def check_number(file: Path, names: tuple[str, ...], num_classes: int) -> None:
    """Refuses names that are not as many as the outputs of a model.

    Raises:
        AedError: Says how to give them.
    """
    if not names:
        raise AedError(f"{file}: does not name its {num_classes} classes; give {WAYS}")
    if len(names) != num_classes:
        garbage = f"; with use_garbage_class there is one more, {OTHER!r}" if num_classes == len(names) + 1 else ""
        raise AedError(
            f"{file}: {num_classes} outputs, but {len(names)} class names: {', '.join(names)}{garbage}; give "
            f"{num_classes} by {WAYS}"
        )


def _of_settings(settings: Document) -> list[str]:
    names = settings.names("dataset.class_names") or []
    return [*names, OTHER] if names and settings.flag("dataset.use_garbage_class") else names


def _check(where: str, names: Any) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise AedError(
            f"{where}: need a list of names, got {names!r}; put values that YAML would not read as text in quotes"
        )
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise AedError(f"{where}: {doubled} twice; name each class once")


def _read(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AedError(f"class_names: {path} cannot be read ({error}); a list is class_names=[dog,rain]") from error
    if path.suffix.lower() != ".csv":
        return [line.strip() for line in lines if line.strip()]
    rows = csv.DictReader(lines)
    if "category" not in (rows.fieldnames or ()):
        raise AedError(f"class_names: {path} needs a column 'category', it has {rows.fieldnames}")
    return sorted({row["category"].strip() for row in rows if row["category"]})
