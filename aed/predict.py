"""python -m aed.predict model=<file> <recordings> ...: names the sounds in recordings; needs the model file only."""

import io
import logging
import re
import sys
from pathlib import Path
from typing import Any, Literal

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from aed.audio.recordings import check_output
from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.base.overrides import quoted
from aed.base.paths import CONFIG_DIR
from aed.dsp.frontend import FrontendConfig
from aed.inference.classifier import AUDIOSET, Classifier
from aed.inference.opening import open_classifier
from aed.inference.prediction import WRITERS, Predictor, find_files, hear
from aed.run import registry
from aed.settings import schemas
from aed.settings.advice import VALUED
from aed.settings.entry import clear_errors, resolved, run_task

log = logging.getLogger("aed.predict")


def predict(
    model_file: str,
    files: list[str],
    frontend: FrontendConfig | None = None,
    class_names: list[str] | None = None,
    format: Literal["table", "csv", "json"] = "table",
    timeline: bool = False,
    unknown_threshold: float | None = None,
    mode: Literal["auto", "clip", "stream"] = "auto",
    top: int | None = None,
    output: str | None = None,
    strict: bool = False,
    threads: int = 0,
    net_class: str | None = None,
) -> None:
    """Prints, or writes, what a model hears in recordings.

    Args:
        model_file: ``.ckpt`` or ``.onnx``; ``yamnet_audioset``: Google's YAMNet, which knows 521 classes of AudioSet.
        files: Recordings, folders (recursive), globs; ``-``: wav, ogg or au on standard input.
        frontend: For an ``.onnx`` without a model card.
        class_names: For an ``.onnx`` without a model card.
        format: ``table``, ``csv`` or ``json``.
        timeline: A row a patch instead of one a recording.
        unknown_threshold: Posterior that a class has to reach, else the answer is ``unknown``; 0: none has to; null:
            what the model card says. See :class:`aed.inference.prediction.Predictor`.
        mode: ``clip``, ``stream`` or ``auto``; as above.
        top: Most classes to name; as above.
        output: File to write instead of printing.
        strict: Stop at the first recording that cannot be used, instead of reporting it and going on.
        threads: CPU threads of ONNX Runtime; 0: as many as torch.
        net_class: For a ``.ckpt`` of a net of yours: its class, ``my_pkg.MyNet``.

    Raises:
        AedError: The model or, with ``strict``, a recording cannot be used; or none can.
    """
    if format not in WRITERS:
        raise AedError(f"format: need one of {sorted(WRITERS)}, got {format!r}")
    names = find_files(files)
    if output is not None:
        check_output("output", Path(output), [*names, model_file])
    predictor = Predictor(_open(model_file, frontend, class_names, threads, net_class), unknown_threshold, mode, top)
    text = io.StringIO()
    writer: Any = WRITERS[format](sys.stdout if output is None else text, timeline)
    bad = hear(predictor, names, writer, strict)
    writer.close()
    if output is not None:
        write_whole(Path(output), lambda file: file.write(text.getvalue().encode()))
    if bad == len(names):
        raise AedError("no recording could be used")


def _open(
    model_file: str,
    frontend: FrontendConfig | None,
    class_names: list[str] | None,
    threads: int,
    net_class: str | None,
) -> Classifier:
    if model_file != AUDIOSET:
        names = tuple(class_names) if class_names else None
        return open_classifier(Path(model_file), frontend, names, threads, net_class)
    if frontend is not None or class_names is not None:
        raise AedError(f"{model_file}: its own front end and class names count; leave frontend= and class_names= out")
    from aed.inference.audioset import AudioSetClassifier  # here: an .onnx is opened without torch

    return AudioSetClassifier()


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="predict")
def _task(cfg: DictConfig) -> None:
    with clear_errors(log):
        plain = resolved(cfg)
        predict(**instantiate(plain, _convert_="all"))


_OVERRIDE = re.compile(r"[+~]{0,2}[\w./@-]+=|\+\+?[\w.]+$")


def with_files(arguments: list[str]) -> list[str]:
    """Command-line arguments with those that are no ``key=value`` and no option gathered in ``files=[...]``.

    A shell's globs thus work as they do everywhere; ``-`` is standard input.
    """
    files: list[str] = []
    others: list[str] = []
    valued = False
    for item in arguments:
        is_file = not valued and (item == "-" or not (item.startswith("-") or _OVERRIDE.match(item)))
        (files if is_file or (not valued and Path(item).exists()) else others).append(item)
        valued = item in VALUED
    return [*others, f"files=[{','.join(map(quoted, files))}]"] if files else arguments


def main() -> None:
    """Entry point."""
    registry.register_frontends()
    schemas.store("schema", "predict", schemas.command(predict))
    sys.argv[1:] = with_files(sys.argv[1:])
    run_task(_task, log, "predict")


if __name__ == "__main__":
    main()
