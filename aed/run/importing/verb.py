"""The verb: models of other tools become files of this project, on request int8 and a C library at once."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.run.importing.names import ClassOrder, Given
from aed.run.importing.names import class_names as names_of
from aed.run.importing.tflite import from_tflite
from aed.run.importing.written import Ready, check_ours, write_onnx
from aed.run.zoo.document import Document, read_document

log = logging.getLogger(__name__)

ZOO_FILE = "user_config.yaml"
"""Of ST's zoo: read where it lies beside a model."""


def import_model(
    files: list[str],
    class_names: list[str] | str | None = None,
    frontend: FrontendConfig | None = None,
    st_config: str | None = None,
    folder: str | None = None,
    class_order: ClassOrder | None = None,
    onnx: bool = True,
    calibrate: str | None = None,
    c: str | None = None,
) -> list[Path]:
    """Writes each model as ``<name>.onnx`` with a model card, of Keras also ``<name>.ckpt``; returns the files.

    Args:
        files: ``.keras`` (Keras 3) and ``.h5`` (Keras 2 and 3) of ST's YAMNet and MiniResNet, with its augmentation
            around them or without; ``.tflite``, int8 or float, of any net of common operators.
        class_names: The classes, or a file of them: text, a name a line, or csv with a column ``category``. Default:
            those of ``st_config``, or the labels inside a .tflite.
        frontend: Front end, exactly. Default: that of ``st_config``, else, of Keras, ST's zoo's for the architecture.
        st_config: The ``user_config.yaml`` that the model was trained with: front end and class names. That of the zoo
            of 2023, of version 2, 3 or 4. Default: the one beside the file, if it is needed and there.
        folder: Where to write; default: beside each file.
        class_order: ``sorted``: the model's outputs are in alphabetical order, as ST's zoo sorts them. ``given``: in
            the order of ``class_names``. Needed where that makes a difference.
        onnx: Keras: whether to write the ``.onnx`` too.
        calibrate: Recordings, a file, folder or glob: a float model becomes int8, ``<name>_int8.onnx``, too.
        c: New folder for the C library of the int8 model.

    Raises:
        AedError: A file is no such model, the classes do not fit it, or other files are in the way.
    """
    if st_config is not None and frontend is not None:
        raise AedError("frontend and st_config: give one of them; each defines the front end")
    if c is not None and len(files) > 1:
        raise AedError(f"c={c}: a folder for the C library of one model, got {len(files)} files")
    if not onnx and (c is not None or calibrate is not None):
        raise AedError("onnx=false: calibrate= and c= need the .onnx; leave it out")
    settings = read_document(Path(st_config)) if st_config is not None else None
    written = []
    for name in files:
        file = Path(name)
        is_described = class_names is not None and frontend is not None
        own = settings or (None if is_described else _beside(file))
        given = Given(names=names_of(class_names, class_order, own), frontend=frontend or _front_end(own))
        ready = _read(file, given, onnx)
        int8 = None
        if calibrate is not None:
            from aed.run.importing.calibrated import to_int8  # here: ONNX Runtime's quantiser loads slowly

            int8 = to_int8(file, ready, calibrate)
        if c is not None:
            from aed.run.importing.to_c import check_for_c, deliver_c  # here: what writes C is not needed without

            check_for_c(file, int8 or ready, Path(c))
        paths = _write(Path(folder) if folder is not None else file.parent, file.stem, ready, int8)
        log.info("wrote %s; classes in the order %s", " and ".join(map(str, paths)), ", ".join(ready.card.class_names))
        if ready.to_int8 is not None:
            log.info("int8, calibrated and scored on your sounds, a folder per class: %s", ready.to_int8(paths[0]))
        if c is not None:
            deliver_c(paths[-1], Path(c))
        written += paths
    return written


def _front_end(settings: Document | None) -> FrontendConfig | None:
    if settings is None:
        return None
    from aed.run.zoo.frontend import exact_front_end, has_front_end  # here: it loads torch

    return exact_front_end(settings) if has_front_end(settings) else None


def _read(file: Path, given: Given, has_graph: bool) -> Ready:
    if file.suffix.lower() == ".tflite":
        return from_tflite(file, given)
    if file.suffix.lower() == ".onnx":
        raise AedError(f"{file}: an ONNX model needs no import: model={file} frontend=... class_names=[...]")
    if file.suffix.lower() in (".keras", ".h5") or file.is_dir():
        from aed.run.importing.keras import from_keras  # here: a .tflite is imported without torch and Lightning

        return from_keras(file, given, has_graph)
    raise AedError(f"{file}: need a .keras, .h5 or .tflite file")


def _write(folder: Path, stem: str, ready: Ready, int8: Ready | None) -> list[Path]:
    """Writes all files of a model; returns their paths, that of the last form at the end."""
    writers: dict[Path, Callable[[Path], None]] = {}
    if ready.write_checkpoint is not None:
        writers[folder / f"{stem}.ckpt"] = ready.write_checkpoint
    for own, suffix in ((ready, ""), (int8, "_int8")):
        if own is not None and own.graph is not None:
            writers[folder / f"{stem}{suffix}.onnx"] = partial(write_onnx, graph=own.graph, card=own.card)
    for path in writers:
        check_ours(path)
    for path, write in writers.items():
        write(path)
    return list(writers)


def _beside(file: Path) -> Document | None:
    path = file.parent / ZOO_FILE
    if not path.is_file():
        return None
    log.info("%s: with %s beside it", file, ZOO_FILE)
    return read_document(path)
