"""The deployment package: all that ST's 'getting started' audio firmware needs to run our model, in one folder."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from aed.base.errors import AedError
from aed.base.files import check_replaceable, json_text, sha256_of, whole_folder
from aed.base.overrides import differing
from aed.dsp.frontend import FrontendConfig
from aed.export.card import ModelCard
from aed.export.embedding import without_embedding
from aed.export.graph import load_model, read_model_card, save_model
from aed.inference.opening import open_classifier
from aed.scoring.rule import EventRule
from aed.target.boards import Board, board_names, load_board
from aed.target.firmware.stm32.headers import (
    CONFIG,
    TABLES_C,
    TABLES_H,
    Variant,
    check_frontend,
    config_header,
    tables_header,
    tables_source,
)
from aed.target.firmware.stm32.net import check_original, firmware_model, input_steps
from aed.target.firmware.stm32.st_frontend import (
    Difference,
    Effect,
    Firmware,
    default_silence_threshold,
    differences,
    effect,
)
from aed.target.report import Report

log = logging.getLogger(__name__)

MANIFEST, MODEL, HEADERS, NETWORK = "manifest.json", "model_firmware.onnx", "C_header", "c"

CLASS_ORDER = (
    "The order of the net's outputs, by which the firmware looks a name up. ST's zoo sorts class names before it "
    "trains, so there the two are the same; sorting this list alone would give every class a wrong name."
)

LARGEST_SIDE = 100
"""Of a patch: the firmware's own check of the net warns where it is more."""


class Generator(Protocol):
    """Writes a net as C code for a board, as :class:`aed.target.stedgeai.backend.StEdgeAi` does."""

    @property
    def name(self) -> str:
        """For messages."""

    def generate(self, model: Path, board: Board, folder: Path) -> Report:
        """Leaves the C code in ``folder/c`` and returns the costs."""


@dataclass(frozen=True)
class Package:
    """A complete package.

    Args:
        folder: Where it lies.
        manifest: Content of its ``manifest.json``.
    """

    folder: Path
    manifest: Mapping[str, Any]


def variant_of(board: Board) -> Variant:
    """The firmware for a board.

    Raises:
        AedError: ST has none for it; names the boards it has one for.
    """
    if board.firmware not in get_args(Variant):
        known = [name for name in board_names() if load_board(name).firmware in get_args(Variant)]
        raise AedError(f"stm32.board={board.name}: there is no ST audio firmware for it; there is one for {known}")
    return "n6" if board.firmware == "n6" else "u5"


def deploy_stm32(
    model_file: Path,
    folder: Path,
    board: Board,
    generator: Generator,
    *,
    clips: Sequence[tuple[Path, int]] = (),
    unknown_threshold: float | None = None,
    silence_threshold: int | None = None,
    rtos: Literal["freertos", "threadx"] = "freertos",
    original: Path | None = None,
    done: Callable[[int], object] = lambda number: None,
) -> Package:
    """Writes a deployment package: network code, the firmware's headers, and ``manifest.json``.

    The folder is complete or not there; an older package stays until the new one is whole. It holds ``C_header/``
    (``headers.py``), ``c/`` and the other files of ``generator``, ``model_firmware.onnx`` (the net with int8
    input and float probabilities out, from which ``generator`` starts; or a copy of ``original``) and the manifest:
    files, classes, and every known difference between the firmware's front end and the trained one with its effect on
    ``clips``.

    Args:
        model_file: int8, with a model card.
        folder: Of the package alone: other files in it would be lost, so a folder that is no package is refused.
        board: With ``firmware``.
        generator: Writes the network's C code to ``folder/c``; for ST's tool its legacy C API is what the firmware
            of the U5 calls.
        clips: Test clips and the index of their class, for the effects; (): none, as the manifest states.
        unknown_threshold: Probability that a class has to exceed, else it answers ``unknown``; 0: none has to;
            None: the card's.
        silence_threshold: Sum of a patch's magnitudes that must be exceeded for an answer; None: ST's.
        rtos: Which of ST's applications for the U5; they differ in the front end's effect, not in the files.
        original: File that the model was imported from: ``generator`` starts from it as it is; None: from the model.
        done: Called after each clip with their number so far.

    Raises:
        AedError: The firmware cannot use the model, its front end, the classes or the board, or a tool fails.
    """
    variant = variant_of(board)
    check_replaceable(folder, MANIFEST)
    model = load_model(model_file)
    card = read_model_card(model, model_file)
    check_frontend(card.frontend)
    if card.decision.by_nearness and unknown_threshold is None:
        raise AedError(
            f"{model_file}: what is unknown depends on the nearness to its classes, which ST's firmware lacks; give "
            "the posterior that a class has to exceed, stm32.unknown_threshold=0.5, or use target=c"
        )
    classifier = open_classifier(model_file)  # refuses a model whose shapes or classes do not fit its card
    card = replace(card, decision=replace(card.decision, nearness=None))
    fitted, fitted_card = firmware_model(without_embedding(model), card, model_file)
    facts = input_steps(card, model_file)
    threshold = (card.decision.unknown_threshold if unknown_threshold is None else unknown_threshold) or 0.0
    silence = default_silence_threshold(card.frontend) if silence_threshold is None else silence_threshold
    texts = {
        CONFIG: config_header(card.frontend, card.class_names, unknown_threshold=threshold, silence_threshold=silence),
        TABLES_H: tables_header(card.frontend, variant),
        TABLES_C: tables_source(card.frontend, variant),
    }
    _check_clips(clips, card)
    network = MODEL
    if original is not None:
        check_original(original, card)
        network = f"{Path(MODEL).stem}{original.suffix}"
    firmware = Firmware(
        unknown_threshold=threshold,
        silence_threshold=silence,
        input_scale=facts.input_scale,
        input_zero_point=facts.input_zero_point,
        rtos=rtos,
    )

    def fill(staging: Path) -> dict[str, Any]:
        if original is None:
            save_model(staging / MODEL, fitted, fitted_card)
        else:
            shutil.copyfile(original, staging / network)
        report = generator.generate(staging / network, board, staging)
        if not list((staging / NETWORK).rglob("*.c")):
            raise AedError(f"{generator.name}: wrote no C code for {board.name}")
        (staging / HEADERS).mkdir(exist_ok=True)
        for name, text in texts.items():
            (staging / HEADERS / name).write_text(text, encoding="ascii")
        measured = None
        if clips:
            aggregate = card.decision.aggregate
            measured = effect(clips, card.frontend, classifier.posteriors, firmware, done, aggregate)
        return {
            "target": "stm32",
            "firmware": variant,
            "board": board.name,
            "model": _model_facts(model_file, card, network),
            "settings": asdict(firmware),
            "network": report.content(),
            "requirements": _requirements(variant, card.frontend, report, network),
            **_effects([*_rule(card), *differences(card.frontend, firmware)], variant, measured, len(clips)),
            "files": _hashes(staging),
        }

    with whole_folder(folder, MANIFEST) as staging:
        manifest = fill(staging)
        (staging / MANIFEST).write_text(json_text(manifest), encoding="utf-8")
    log.info("deployment package in %s", folder)
    for item in _rule(card):
        log.warning("%s: it has an event rule (%s), ST's firmware none: %s", model_file, item.trained, item.firmware)
    return Package(folder, manifest)


def _check_clips(clips: Sequence[tuple[Path, int]], card: ModelCard) -> None:
    if wrong := [index for _, index in clips if not 0 <= index < len(card.class_names)]:
        raise AedError(f"clips: class index {wrong[0]}, but the model has {len(card.class_names)} classes")


def _model_facts(model_file: Path, card: ModelCard, network: str) -> dict[str, Any]:
    return {
        "file": model_file.name,
        "sha256": sha256_of(model_file),
        "firmware_file": network,
        "class_names": list(card.class_names),
        "class_order": CLASS_ORDER,
        "frontend": asdict(card.frontend),
        "patch_samples": card.frontend.patch_samples,
        "patch_s": card.frontend.patch_samples / card.frontend.sample_rate,
    }


def _requirements(variant: Variant, config: FrontendConfig, report: Report, network: str) -> list[str]:
    """Requirements that the files alone do not meet."""
    needs = [
        f"The network code has to be built with int8 input and float32 output, as {network} has them.",
        "ST's runtime library and its headers, of the version that wrote the network code, belong into the project.",
    ]
    if variant == "u5":
        needs.append("The firmware calls ST's older C API: ST Edge AI Core 3.0 and newer need --c-api legacy.")
    else:
        needs.append("app_config.h is the application's own and is not generated; the N6 application comes from ST.")
        needs.append("The N6 was not simulated from its own sources: the U5's front end is assumed.")
    if max(config.n_mels, config.patch_frames) > LARGEST_SIDE:
        needs.append(f"A patch has a side over {LARGEST_SIDE}: the firmware's check of the net warns.")
    return [*needs, *([report.limits] if report.limits else [])]


def _rule(card: ModelCard) -> tuple[Difference, ...]:
    """That the card's event rule stays behind; (): it has none."""
    if card.rule is None:
        return ()
    settings = ", ".join(differing(asdict(card.rule), asdict(EventRule()), "rule.")) or "thresholds of 0.5"
    instead = "an answer a patch, of it alone, at any level; alarms as with the rule need target=c"
    return (Difference("event_rule", settings, instead, measurable=False),)


def _effects(
    steps: Sequence[Difference], variant: Variant, measured: Mapping[str, Effect] | None, num_clips: int
) -> dict[str, Any]:
    """The differences, each with its effect alone, and both ends."""
    effects = measured or {}
    rows: list[dict[str, Any]] = []
    for item in steps:
        row = asdict(item) | {"effect": asdict(effects[item.name]) if item.name in effects else None}
        if item.name in effects:
            row["clip_acc_change"] = effects[item.name].clip_acc - effects["trained"].clip_acc
            row["patch_acc_change"] = effects[item.name].patch_acc - effects["trained"].patch_acc
        if variant == "n6":
            row["known"] = "guess"
        rows.append(row)
    ends = {key: asdict(effects[key]) for key in ("trained", "firmware") if key in effects}
    how = f"simulated on {num_clips} clips, each difference alone" if measured else "not measured: no clips"
    return {"differences": rows, "accuracy": {"how": how, "clips": num_clips, **ends}}


def _hashes(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}
