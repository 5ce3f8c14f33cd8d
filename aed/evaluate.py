"""python -m aed.evaluate model=<file> [key=value ...]: scores any model on any split of a data set."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import hydra
import numpy as np
import numpy.typing as npt
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from aed.base.errors import AedError
from aed.base.files import temporary_folder
from aed.base.paths import CONFIG_DIR
from aed.datamodules import PatchDataModule
from aed.datamodules.patches import PatchDataset
from aed.datamodules.selection import class_counts
from aed.datamodules.sources.events import EventSource
from aed.dsp.frontend import FrontendConfig
from aed.export.card import ModelCard
from aed.export.graph import load_model
from aed.inference.classifier import Classifier
from aed.inference.opening import open_classifier
from aed.run import evaluate as evaluation
from aed.run import registry
from aed.scoring import tables
from aed.scoring.decision import Task
from aed.scoring.levels import LEVELS
from aed.settings import schemas
from aed.settings.entry import clear_errors, resolved, run_task
from aed.target.boards import Board, emulated, load_board, need_backend
from aed.target.emulator.sessions import EmulatedDevice
from aed.target.host import HostDevice
from aed.target.stedgeai import StEdgeAi

log = logging.getLogger("aed.evaluate")

PROGRAMS = ("runtime", "c", "emulator", "board")
SPLITS = ("train", "val", "test", "calibration", "all")


def evaluate(
    model_file: str,
    data: Callable[..., PatchDataModule],
    folder: str,
    split: Literal["train", "val", "test", "calibration", "all"] = "test",
    split_by: Literal["card", "data"] = "card",
    on: Literal["runtime", "c", "emulator", "board"] = "runtime",
    board: str = "mps2-an505",
    serial: str | None = None,
    tool: str | None = None,
    max_clips: int | None = None,
    frontend: FrontendConfig | None = None,
    class_names: list[str] | None = None,
    net_class: str | None = None,
    outputs: Literal["logits", "probabilities"] | None = None,
    threads: int = 0,
    seed: int = 0,
) -> dict[str, float]:
    """Scores a model on a split, writes metrics and pictures as training does, and returns the metrics.

    Args:
        model_file: ``.ckpt`` or ``.onnx``.
        data: Makes the DataModule.
        folder: Outputs.
        split: Clips to score; ``all``: of the whole data set.
        split_by: ``card``: the clips that the model's card lists for the split, where it was trained on this data
            set; ``data``: as ``data.*`` splits it.
        on: ``runtime``: torch or ONNX Runtime on cached features. ``c``: and the clips' audio through front end and
            net in C, compiled for this machine; int8 ``.onnx`` with a card only. ``emulator``: and through the same C
            on an emulated board. ``board``: and the clips' patches through ST's code, by ``stedgeai validate``: on the
            board at a serial port or, without one, on this machine.
        board: For ``emulator`` and ``board``: a file in ``configs/boards``.
        serial: For ``board``: its port, ``serial``, ``serial:COM3:921600``.
        tool: For ``board``: ``stedgeai`` or its folder; None: looked for.
        max_clips: Only so many clips of the split, evenly spread: an emulated or real board is slow.
        frontend: For an ``.onnx`` without a model card.
        class_names: For an ``.onnx`` without a model card; default: the data's, in alphabetical order.
        net_class: For a ``.ckpt`` of a net of yours: its class, ``my_pkg.MyNet``.
        outputs: What an ``.onnx`` without a model card gives; default: probabilities where it ends in a softmax or
            sigmoid or where all outputs for trial patches are in [0, 1], which the log tells, else logits.
        threads: CPU threads of ONNX Runtime; 0: as many as torch.
        seed: Of a random split.

    Raises:
        AedError: The model or the data cannot be used.
    """
    choices: tuple[tuple[str, str | None, tuple[str | None, ...]], ...] = (
        ("split", split, SPLITS),
        ("split_by", split_by, ("card", "data")),
        ("on", on, PROGRAMS),
        ("outputs", outputs, (None, "logits", "probabilities")),
    )
    for name, value, allowed in choices:
        if value not in allowed:
            raise AedError(f"{name}: need one of {allowed}, got {value!r}")
    names_given = tuple(class_names) if class_names else None
    task: Task | None = "multi_label" if getattr(data, "keywords", {}).get("multi_label") else None
    classifier = open_classifier(
        Path(model_file), frontend, names_given, threads, outputs=outputs, task=task, net_class=net_class
    )
    if on != "runtime":
        _check_device(classifier, on, board)
    card = _heard(classifier.card) if on in ("c", "emulator") else classifier.card
    foreign = not card.data and class_names is None and classifier.path.suffix == ".onnx"
    module = evaluation.model_data(
        partial(data, seed=seed), card, split, split_by, None if foreign else list(card.class_names)
    )
    if module.num_classes != len(card.class_names):
        raise AedError(f"{model_file}: {len(card.class_names)} outputs, but the data has {module.num_classes} classes")
    module.prepare_data()
    module.setup()
    chosen = "train" if split == "all" else split
    if chosen not in module.datasets:
        raise AedError(f"split={split}: there is no such split here; there are {sorted(module.datasets)}")
    names, dataset = module.clip_names(chosen), module.datasets[chosen]
    kept = _spread(len(names), max_clips)
    names, dataset = [names[number] for number in kept], dataset.subset(np.array(kept))
    prefix = f"{split}_int8" if classifier.kind == "int8" else split
    scored = evaluation.evaluate(classifier, dataset, module.class_names)
    found = {prefix: scored}
    evaluation.write_scores(Path(folder), prefix, scored.scores, names, module.class_names)
    if on in ("c", "emulator"):
        if isinstance(module.clips, EventSource):
            raise AedError(f"on={on}: C hears whole clips, {module.clips.name} has parts of recordings; use runtime")
        rows = module.rows(chosen).iloc[kept]
        clips = list(rows["path"]), module.targets(rows)
        found |= _through_c(Path(model_file), card, split, clips, module.class_names, board if on != "c" else None)
    if on == "board":
        steps = _through_st(Path(model_file), dataset, load_board(board), Path(folder), serial, tool)
        made = evaluation.judge(card, steps, dataset.patch_targets, dataset.clip, module.class_names)
        found[f"{split}_board"] = made
    metrics = {f"data/{split}_clips": float(dataset.num_clips)}
    counts = class_counts(dataset.targets, module.num_classes).tolist()
    files = module.file_names(chosen)
    note = _note(card, module, split, [files[recording] for recording in np.unique(dataset.windows[:, 0])])
    for key, made in found.items():
        metrics |= made.metrics(key)
        if made is not scored:
            metrics |= {f"{key}/{name}": value for name, value in evaluation.agreement(scored, made).items()}
            evaluation.write_scores(Path(folder), key, made.scores, names, module.class_names)
    tables.write_json(Path(folder) / "metrics.json", metrics)
    last = list(found)[-1]
    tables.print_scores(last, metrics, counts, module.class_names, note)
    if on != "runtime":
        trained = card if len(kept) == len(module.clip_names(chosen)) else None
        tables.print_programs(split, _rows(trained, split, found, metrics), note)
    log.info("outputs in %s", folder)
    return metrics


def _heard(card: ModelCard) -> ModelCard:
    """The card with features of the samples that C hears: both programs are then given the same."""
    if card.frontend.sample_bits is not None:
        return card
    log.info(
        "the model's features are of float samples, the C hears 16 bits: so do its scores in ONNX Runtime here "
        "(frontend.sample_bits=16)"
    )
    return replace(card, frontend=replace(card.frontend, sample_bits=16))


def _check_device(classifier: Classifier, on: str, board: str) -> None:
    """Refuses, before anything is scored, what a device cannot run.

    Raises:
        AedError: Says what it needs.
    """
    if classifier.kind != "int8":
        raise AedError(f"on={on}: need an int8 .onnx, {classifier.path.name} is float; give model_int8.onnx")
    if on != "board" and classifier.card.frontend.include_last_patch:
        raise AedError(f"on={on}: frontend.include_last_patch needs a clip's end, which a device does not know")
    if on == "emulator":
        emulated(load_board(board))
    if on == "board":
        need_backend(load_board(board), "stedgeai")


def _through_c(
    model: Path,
    card: ModelCard,
    split: str,
    clips: tuple[list[Path], npt.NDArray[Any]],
    class_names: Sequence[str],
    board: str | None,
) -> dict[str, evaluation.Evaluated]:
    """Scores of the C code on this machine and, if there is a board, on it, by prefix of their metrics."""
    place = load_board(board) if board else None
    graph = load_model(model)
    found: dict[str, evaluation.Evaluated] = {}
    with temporary_folder() as build:
        devices: dict[str, evaluation.Device] = {f"{split}_c": HostDevice(build / "host", graph, card.frontend)}
        if place:
            devices[f"{split}_emulator"] = EmulatedDevice(build / "board", graph, card.frontend, place)
        for prefix, device in devices.items():
            found[prefix] = evaluation.evaluate_clips(device, card, *clips, class_names)
    if place:
        here, there = found[f"{split}_c"], found[f"{split}_emulator"]
        if not np.array_equal(here.outputs, there.outputs):
            raise AedError(f"{place.name}: its outputs are not those of the same C on this machine")
    return found


def _through_st(
    model: Path, data: PatchDataset, board: Board, folder: Path, serial: str | None, tool: str | None
) -> npt.NDArray[np.float32]:
    """Outputs ``(num_patches, num_classes)`` of ST's code; its report goes to ``folder/target/stedgeai``."""
    patches = np.concatenate(list(evaluation.chunks(data)))
    place = folder / "target" / "stedgeai" / board.name
    made = StEdgeAi(Path(tool) if tool else None, serial).compare(model, board, place, patches)
    tables.write_json(place / "report.json", {"model": model.name} | made.report.content())
    return made.outputs


def _spread(total: int, most: int | None) -> list[int]:
    """Numbers of at most ``most`` of ``total`` clips, evenly over them."""
    if most is not None and most < 1:
        raise AedError(f"max_clips: need at least 1, got {most}")
    count = total if most is None else min(total, most)
    return [round(number) for number in np.linspace(0, total - 1, count).tolist()]


def _rows(
    card: ModelCard | None, split: str, found: Mapping[str, evaluation.Evaluated], metrics: Mapping[str, float]
) -> list[tuple[str, Mapping[str, float]]]:
    """Names of programs and their metrics, the float model's from the card."""
    known = card.metrics if card else {}
    trained = {key: known[f"{split}/{key}"] for key in LEVELS[card.task] if f"{split}/{key}" in known} if card else {}
    rows: list[tuple[str, Mapping[str, float]]] = [("float (model card)", trained)] if trained else []
    titles = {f"{split}_int8": "int8, ONNX Runtime", f"{split}_c": "int8, C", f"{split}_emulator": "int8, C, emulated"}
    titles[f"{split}_board"] = "int8, ST's code"
    for prefix in found:
        start = f"{prefix}/"
        own = {key.removeprefix(start): value for key, value in metrics.items() if key.startswith(start)}
        rows.append((titles.get(prefix, prefix), own))
    return rows


def _note(card: ModelCard, module: PatchDataModule, split: str, names: list[str]) -> str:
    """What has to stand under the table."""
    trained = set(card.data.get("clips", {}).get("train", ()))
    seen = len(trained.intersection(names))
    if seen and split != "train":
        log.warning("LEAKS: the model was trained on %d of these %d clips", seen, len(names))
        return f"LEAKS: trained on {seen} of these {len(names)} clips"
    return module.note(card.weights)


SPLIT_KEYS = tuple(f"data.{key}=" for key in ("split", "test_fold", "val_fold", "test_fraction", "val_fraction"))


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="evaluate")
def _task(cfg: DictConfig) -> None:
    with clear_errors(log, "stopped; features made so far are kept"):
        typed = [item for item in HydraConfig.get().overrides.task if item.startswith(SPLIT_KEYS)]
        if typed and cfg.split_by == "card":
            raise AedError(f"{typed[0]}: the model's own split counts; for another one add split_by=data")
        plain = resolved(cfg)
        # made once the model has told its front end and classes
        data = instantiate(plain.pop("data") | {"_partial_": True}, _convert_="all")
        evaluate(data=data, **instantiate(plain, _convert_="all"))


def main() -> None:
    """Entry point."""
    registry.register_data()
    schemas.store("schema", "evaluate", schemas.command(evaluate))
    run_task(_task, log, "evaluate")


if __name__ == "__main__":
    main()
