"""A model on any split of a data set, through any of its programs."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import numpy as np

from aed.base.errors import AedError
from aed.base.files import temporary_folder
from aed.datamodules import PatchDataModule
from aed.datamodules.selection import class_counts
from aed.datamodules.sources.events import EventSource
from aed.dsp.frontend import FrontendConfig
from aed.dsp.stream import can_stream
from aed.inference.detection import Detector
from aed.inference.onnx import Outputs
from aed.inference.opening import open_classifier
from aed.run import int8_programs, program_choice
from aed.run.int8_programs import score_on_board
from aed.run.model_data import SplitClips, model_data
from aed.run.program_choice import TITLES, ProgramConfig, st_program
from aed.run.robustness import check_data, outcomes_of, program_of, write_robustness
from aed.run.split_scores import Result, agreement, score_classifier, write_scores
from aed.run.stream_robustness import events_found
from aed.scoring import tables
from aed.scoring.decision import Task
from aed.scoring.levels import LEVELS

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Which clips a model is evaluated on, and through which of its programs.

    Args:
        split: Clips to score; ``all``: the whole data set.
        split_by: ``card``: the clips that the model's card lists for the split, where it was trained on this data
            set; ``data``: as ``data.*`` splits it.
        on: ``runtime``: torch or ONNX Runtime on cached features. ``c``: also the C code of front end and net, compiled
            for this machine, on the clips' audio; int8 ``.onnx`` only. ``emulator``: also the same C on an emulated
            board. ``board``: also ST's code on the clips' patches, by ``stedgeai validate``: on the board at a serial
            port or, without one, on this machine.
        board: With on=emulator or on=board: a file in ``configs/boards``.
        serial: With on=board: serial port, ``serial``, ``serial:COM3:921600``.
        tool: With on=board: ``stedgeai`` or its folder; null: looked for.
        robustness: Score the clips, and events of streams made of them, also under noise, at low levels, through small
            microphones, with few bits and clipped; with on=c or on=emulator through the C code.
        max_clips: Largest number of clips of the split, evenly spread: an emulated or real board is slow.
        frontend: For an ``.onnx`` without a model card.
        class_names: For an ``.onnx`` without a model card; null: the data's, in alphabetical order.
        net_class: For a ``.ckpt`` of your own net: its class, ``my_pkg.MyNet``.
        outputs: Outputs of an ``.onnx`` without a model card; null: probabilities where it ends in a softmax or
            sigmoid or where all outputs for trial patches are in [0, 1], which the log says, else logits.
        threads: CPU threads of ONNX Runtime; 0: as many as torch.

    Raises:
        AedError: A value is out of range, or belongs to another program.
    """

    split: Literal["train", "val", "test", "calibration", "all"] = "test"
    split_by: Literal["card", "data"] = "card"
    on: Literal["runtime", "c", "emulator", "board"] = "runtime"
    board: str = "mps2-an505"
    serial: str | None = None
    tool: str | None = None
    robustness: bool = False
    max_clips: int | None = None
    frontend: FrontendConfig | None = None
    class_names: tuple[str, ...] | None = None
    net_class: str | None = None
    outputs: Outputs | None = None
    threads: int = 0

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name, allowed in (
            *((key, get_args(hints[key])) for key in ("split", "split_by", "on")),
            ("outputs", (None, *get_args(Outputs))),
        ):
            if (value := getattr(self, name)) not in allowed:
                raise AedError(f"{name}: need one of {allowed}, got {value!r}")
        if self.max_clips is not None and self.max_clips < 1:
            raise AedError(f"max_clips: need at least 1, got {self.max_clips}")
        program_choice.refuse_unused(self.on, self.serial, self.tool)
        if self.robustness and self.on == "board":
            raise AedError(
                "robustness=true: plays sounds, and on=board takes patches; use on=c, on=emulator or runtime"
            )


class Evaluation:
    """A model, opened once, and the clips of a split; a method for each of the model's programs.

    What cannot be evaluated is refused in the order of its price: settings, model, programs, data, features.

    Args:
        model_file: ``.ckpt`` or ``.onnx``.
        data: Constructs the DataModule.
        config: Which clips and programs.
        folder: Folder to write to.
        build: For programs, as long as the evaluation lasts.

    Raises:
        AedError: The model or the data cannot be used.
    """

    def __init__(
        self,
        model_file: Path,
        data: Callable[..., PatchDataModule],
        config: EvaluateConfig,
        folder: Path,
        build: Path,
    ) -> None:
        self.config, self.folder = config, folder
        self.target = program_choice.choose_board(config.on, config.board)
        names = tuple(config.class_names) if config.class_names else None
        task: Task | None = "multi_label" if getattr(data, "keywords", {}).get("multi_label") else None
        self.classifier = open_classifier(
            model_file, config.frontend, names, config.threads, config.net_class, config.outputs, task
        )
        self.card, self.devices = self.classifier.card, dict[str, int8_programs.Device]()
        if config.on != "runtime":
            int8 = program_choice.int8_graph(self.classifier, config.on)
            if config.on == "board":
                chosen = ProgramConfig(on=config.on, board=config.board, serial=config.serial, tool=config.tool)
                self.st = st_program(int8, chosen, folder)
                self.card = self.st.card
            else:
                self.card = int8_programs.with_device_samples(self.card)
                self.devices = int8_programs.build_devices(int8, self.card, build, self.target)
        is_foreign = not self.card.data and names is None and model_file.suffix == ".onnx"
        module = model_data(
            data, self.card, config.split, config.split_by, None if is_foreign else list(self.card.class_names)
        )
        if module.num_classes != (size := len(self.card.class_names)):
            raise AedError(f"{model_file}: {size} outputs, but the data has {module.num_classes} classes")
        if self.devices and isinstance(module.clips, EventSource):
            raise AedError(
                f"on={config.on}: C processes whole clips, {module.clips.name} has parts of recordings; use runtime"
            )
        if config.robustness:
            check_data(module)
        self.clips, self.class_names = SplitClips(module, config.split, config.max_clips), module.class_names
        self.subject = f"{model_file.name} on {module.clips.name}"

    def runtime(self) -> Result:
        """The result of torch or ONNX Runtime, on cached features."""
        return score_classifier(self.classifier, self.clips.dataset, self.class_names)

    def c(self) -> Result:
        """The result of the C code, compiled for this machine, on the clips' audio."""
        return self._on_device("c")

    def emulator(self, on_host: Result) -> Result:
        """The result of the C code on an emulated board, on the clips' audio.

        Args:
            on_host: Of :meth:`c`.

        Raises:
            AedError: The outputs are not the same.
        """
        result = self._on_device("emulator")
        if not np.array_equal(on_host.outputs, result.outputs):
            raise AedError(f"{self.config.board}: its outputs are not those of the same C on this machine")
        return result

    def board(self) -> Result:
        """The result of ST's code, on the clips' patches."""
        return score_on_board(self.st, self.clips.dataset, self.class_names, self.folder)

    def _on_device(self, name: str) -> Result:
        return int8_programs.score_device(self.devices[name], self.card, *self.clips.recordings(), self.class_names)

    def run(self) -> dict[str, float]:
        """Runs the programs that ``on`` asks for, writes metrics and pictures as training does; returns the metrics.

        Raises:
            AedError: A program fails.
        """
        results = {"runtime": self.runtime()}
        self._write("runtime", results["runtime"])
        if self.devices:
            results["c"] = self.c()
            self._write("c", results["c"])
        if "emulator" in self.devices:
            results["emulator"] = self.emulator(results["c"])
            self._write("emulator", results["emulator"])
        if self.config.on == "board":
            results["board"] = self.board()
            self._write("board", results["board"])
        return self._report(results)

    def robustness(self, seed: int) -> None:
        """Scores the last of the programs that :meth:`run` ran on disturbed clips, writes a table and a picture.

        Streams are heard by the C on this machine in place of an emulated board, which computes the same.

        Args:
            seed: Of the disturbances.

        Raises:
            AedError: The clips cannot be disturbed.
        """
        name, device = list(self.devices.items())[-1] if self.devices else ("runtime", None)
        program = program_of(self.classifier, self.card, device)
        workers = device.workers if device else 1
        outcomes = outcomes_of(program, self.card, self.clips, self.class_names, seed, workers)
        if can_stream(self.card.frontend):
            here = program_of(self.classifier, self.card, self.devices.get("c"))
            found = events_found(here, Detector(self.classifier), self.clips, seed)
            outcomes = [replace(each, events=found.get((each.condition, each.value))) for each in outcomes]
        write_robustness(self.folder, self._prefix(name), outcomes, self.subject)

    def _prefix(self, program: str) -> str:
        """What the metrics of a program begin with."""
        split = self.config.split
        if program != "runtime":
            return f"{split}_{program}"
        return f"{split}_int8" if self.classifier.kind == "int8" else split

    def _write(self, program: str, result: Result) -> None:
        prefix = self._prefix(program)
        write_scores(self.folder, prefix, result.scores, self.clips.names, self.class_names, self.subject)

    def _report(self, results: Mapping[str, Result]) -> dict[str, float]:
        """Writes ``metrics.json`` and prints the tables; returns the metrics."""
        split, dataset, note = self.config.split, self.clips.dataset, self.clips.note(self.card)
        metrics = {f"data/{split}_clips": float(dataset.num_clips)}
        for program, result in results.items():
            prefix = self._prefix(program)
            metrics |= result.metrics(prefix)
            if program != "runtime":
                alike = agreement(results["runtime"], result)
                metrics |= {f"{prefix}/{name}": value for name, value in alike.items()}
        tables.write_json(self.folder / "metrics.json", metrics)
        counts = class_counts(dataset.targets, len(self.class_names)).tolist()
        tables.print_scores(self._prefix(list(results)[-1]), metrics, counts, self.class_names, note)
        if self.config.on != "runtime":
            tables.print_programs(split, [*self._float_row(), *self._rows(results, metrics)], note)
        log.info("outputs in %s", self.folder)
        return metrics

    def _float_row(self) -> list[tuple[str, Mapping[str, float]]]:
        """The float model's scores from the card, which are of all clips of the split."""
        known, split = self.card.metrics, self.config.split
        scores = {key: known[f"{split}/{key}"] for key in LEVELS[self.card.task] if f"{split}/{key}" in known}
        return [("float (model card)", scores)] if scores and self.clips.is_whole else []

    def _rows(
        self, results: Mapping[str, Result], metrics: Mapping[str, float]
    ) -> list[tuple[str, Mapping[str, float]]]:
        rows: list[tuple[str, Mapping[str, float]]] = []
        for program in results:
            start = f"{self._prefix(program)}/"
            own = {key.removeprefix(start): value for key, value in metrics.items() if key.startswith(start)}
            rows.append((TITLES[program], own))
        return rows


def evaluate_file(
    model_file: str,
    data: Callable[..., PatchDataModule],
    folder: str,
    config: EvaluateConfig = EvaluateConfig(),
    seed: int = 0,
) -> dict[str, float]:
    """Scores a model on a split, writes metrics and pictures as training does, and returns the metrics.

    Args:
        model_file: ``.ckpt`` or ``.onnx``, or a shipped model: ``zoo/esc10_200k``.
        data: Constructs the DataModule.
        folder: Folder to write to.
        config: Which clips, and through which programs of the model.
        seed: Seed of a random split, and of disturbances.

    Raises:
        AedError: The model or the data cannot be used.
    """
    with temporary_folder() as build:
        evaluation = Evaluation(Path(model_file), partial(data, seed=seed), config, Path(folder), build)
        metrics = evaluation.run()
        if config.robustness:
            evaluation.robustness(seed)
        return metrics
