"""Table of the shipped nets: size, operations, memory, front end and accuracy."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any, Literal

import torch
from rich.table import Table
from torch import nn

from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.base.paths import CONFIG_DIR
from aed.base.zoo import PREFIX, shipped_models
from aed.dsp import PRESETS
from aed.export.onnx import ExportConfig, to_onnx
from aed.modules.nets import DSCNN, BCResNet, MiniResNet, MobileNetAS, YAMNet
from aed.modules.nets.miniresnet import Pooling, Version
from aed.modules.nets.mobilenet import Cut
from aed.modules.weights.published import Weights
from aed.target.codegen.footprint import planned_footprint

NUM_CLASSES = 10
"""Of ESC-10."""

MEASURED = CONFIG_DIR / "measured.json"
"""Recipe -> clip accuracy on ESC-10's five folds, float and int8, in %, and the command that printed it."""

FORMATS = ("table", "json")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A net as its recipe trains it.

    Args:
        name: Of a row.
        recipe: ``experiment=`` and the settings changed in it; null: none is shipped.
        net: Builds it.
        frontend: Preset of its patches.
        weights: Published weights that training starts from; null: from scratch.
    """

    name: str
    recipe: str | None
    net: Callable[[], nn.Module]
    frontend: str
    weights: Weights | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """Figures of a net for 10 classes and one patch.

    Args:
        name: Of the net.
        recipe: As in :class:`Entry`.
        input: Mel bands and frames of a patch.
        parameters: Trainable numbers.
        macc: Multiply-accumulates.
        weights_bytes: int8 weights and int32 biases.
        activations_bytes: Arena of the int8 net's C code; of a net that has none, most bytes in use at once.
        planned: Whether there is C code.
        frontend: Preset of the patches.
        streamable: Whether a device can compute them.
        weights: Where the training starts, and their licence.
        licence: SPDX name.
        float_acc: Clips, ESC-10, mean over five folds, %; null: not measured.
        int8_acc: The same of the int8 model.
        command: Command that measured the accuracy.
        model: Shipped model that the recipe trained, on all folds: for ``model=``; null: none.
    """

    name: str
    recipe: str | None
    input: tuple[int, int]
    parameters: int
    macc: int
    weights_bytes: int
    activations_bytes: int
    planned: bool
    frontend: str
    streamable: bool
    weights: str | None
    licence: str | None
    float_acc: float | None
    int8_acc: float | None
    command: str | None
    model: str | None


def catalogue() -> Iterator[Entry]:
    """The shipped nets."""
    sizes: tuple[tuple[int, Literal["st", "google"], str], ...] = (
        (256, "st", "esc10_yamnet"),
        (256, "google", "esc10_yamnet frontend=yamnet_google_64x96 model.net.weights=google"),
        (512, "google", "esc10_yamnet1024 model.net.embedding_size=512"),
        (1024, "google", "esc10_yamnet1024"),
    )
    for size, whose, recipe in sizes:
        weights = YAMNet.WEIGHTS[whose]
        yield Entry(
            name=f"YAMNet-{size} ({whose})",
            recipe=recipe,
            net=partial(YAMNet, NUM_CLASSES, embedding_size=size, weights=whose),
            frontend=weights.frontend,
            weights=weights,
        )
    cuts: tuple[tuple[Cut | None, str, str], ...] = (
        ("x11", "esc10_64k", "mn_96x96"),
        ("x13", "esc10_200k", "mn_96x192"),
        ("x13", "esc10_200k frontend=mn_96x96", "mn_96x96"),
        (None, "esc10_600k", "mn_96x496"),
    )
    for cut, recipe, frontend in cuts:
        yield Entry(
            name=f"MobileNetAS, cut: {cut or 'none'}, {PRESETS[frontend].patch_frames} frames",
            recipe=recipe,
            net=partial(MobileNetAS, NUM_CLASSES, cut=cut),
            frontend=frontend,
            weights=MobileNetAS.WEIGHTS[0.4],
        )
    versions: tuple[Version, ...] = ("v1", "v2")
    poolings: tuple[Pooling, ...] = ("none", "avg")
    for version, n_stacks, pooling in product(versions, (1, 2, 3), poolings):
        published = MiniResNet.WEIGHTS.get((version, n_stacks, pooling))
        arguments = {"version": version, "n_stacks": n_stacks, "pooling": pooling}
        yield Entry(
            name=f"MiniResNet {version}, stacks: {n_stacks}, pooling: {pooling}",
            recipe=_recipe("esc10_miniresnet", MiniResNet, arguments) if published else None,
            net=partial(MiniResNet, NUM_CLASSES, version=version, n_stacks=n_stacks, pooling=pooling),
            frontend="miniresnet_64x50",
            weights=published,
        )
    scratch: dict[str, Callable[[], nn.Module]] = {
        "DSCNN": partial(DSCNN, NUM_CLASSES),
        "BCResNet": partial(BCResNet, NUM_CLASSES),
    }
    for name, net in scratch.items():
        yield Entry(name=name, recipe=f"esc10_{name.lower()}", net=net, frontend="yamnet_64x96", weights=None)


def _recipe(experiment: str, net: Callable[..., nn.Module], arguments: Mapping[str, object]) -> str:
    """The experiment and those arguments that are not the net's defaults."""
    defaults = inspect.signature(net).parameters
    changed = [f"model.net.{key}={value}" for key, value in arguments.items() if defaults[key].default != value]
    return " ".join([experiment, *changed])


def rows() -> list[Row]:
    """The table; needs no file of weights.

    Raises:
        AedError: :data:`MEASURED` is missing or names a recipe that no net has.
    """
    entries = list(catalogue())
    measured = _measured({entry.recipe for entry in entries if entry.recipe})
    return [_row(entry, measured.get(entry.recipe or "", {})) for entry in entries]


def _measured(recipes: set[str]) -> dict[str, dict[str, Any]]:
    if not MEASURED.is_file():
        raise AedError(f"{MEASURED} is missing: install from a checkout with pip install -e .")
    content: dict[str, dict[str, Any]] = json.loads(MEASURED.read_text(encoding="utf-8"))
    if unknown := sorted(set(content) - recipes):
        raise AedError(f"{MEASURED}: no net has the recipes {unknown}")
    return content


def _row(entry: Entry, measured: dict[str, Any]) -> Row:
    torch.manual_seed(0)  # a row does not depend on earlier ones
    net, frontend = entry.net(), PRESETS[entry.frontend]
    cost = planned_footprint(to_onnx(net, frontend, ExportConfig()))
    return Row(
        name=entry.name,
        recipe=entry.recipe,
        input=(frontend.n_mels, frontend.patch_frames),
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        macc=cost.macc,
        weights_bytes=cost.weights_bytes,
        activations_bytes=cost.activations_bytes,
        planned=cost.planned,
        frontend=entry.frontend,
        streamable=frontend.streamable,
        weights=entry.weights.source if entry.weights else None,
        licence=entry.weights.licence if entry.weights else None,
        float_acc=measured.get("float"),
        int8_acc=measured.get("int8"),
        command=measured.get("command"),
        model=shipped if (shipped := f"{PREFIX}{entry.recipe}") in shipped_models() else None,
    )


def show(format: Literal["table", "json"] = "table") -> None:
    """Prints the table.

    Args:
        format: ``table``, or ``json`` with every figure of each net and the command that measured its accuracy.

    Raises:
        AedError: There is no such format.
    """
    if format not in FORMATS:
        raise AedError(f"format: need one of {FORMATS}, got {format!r}")
    torch.set_num_threads(1)  # a single patch gains nothing from more, and loses much on a busy machine
    listed = rows()
    if format == "json":
        print(json.dumps([asdict(row) for row in listed], indent=2))
    else:
        _print(listed)


_COLUMNS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("net", "left"),
    ("parameters", "right"),
    ("M MACC", "right"),
    ("weights KiB", "right"),
    ("RAM KiB", "right"),
    ("float %", "right"),
    ("int8 %", "right"),
    ("front end", "left"),
    ("streams", "left"),
    ("start", "left"),
    ("experiment=", "left"),
    ("trained: model=", "left"),
)


def _print(listed: list[Row]) -> None:
    table = Table(title=f"Nets for {NUM_CLASSES} classes, int8, one patch")
    for heading, side in _COLUMNS:
        table.add_column(heading, justify=side, overflow="fold")
    for row in listed:
        table.add_row(
            row.name,
            f"{row.parameters:,}",
            f"{row.macc / 1e6:.1f}",
            f"{row.weights_bytes / 1024:.1f}",
            f"{row.activations_bytes / 1024:.1f}{'' if row.planned else '*'}",
            *("-" if acc is None else f"{acc:.2f}" for acc in (row.float_acc, row.int8_acc)),
            row.frontend,
            "yes" if row.streamable else "no",
            f"{row.weights.split(':')[0]}, {row.licence}" if row.weights else "scratch",
            row.recipe or "-",
            row.model or "-",
        )
    # a file or pipe has no width of its own, and at the usual 80 columns every cell would break
    console = PlainConsole(width=None if PlainConsole().is_terminal else 250)
    console.print(table)
    for line in (
        "RAM: the arena of the C code, without input and output; *: most bytes alive at once, as no C code exists",
        "float, int8: clips of ESC-10, mean over five folds; format=json has the commands",
        "streams: whether a device, which never sees the whole clip, can compute the front end",
        "trained: shipped with the code, for aed predict, detect, benchmark, deploy, listen; all clips of ESC-10",
    ):
        console.print(line)
