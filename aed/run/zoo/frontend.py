"""The front end of a document, exactly or with what is better."""

from dataclasses import asdict, replace

from aed.base.errors import AedError
from aed.dsp.frontend import PRESETS, FrontendConfig
from aed.modules.nets.miniresnet import published
from aed.modules.nets.yamnet import YAMNet
from aed.modules.weights.published import Weights
from aed.run.zoo.document import Document
from aed.run.zoo.draft import Draft
from aed.run.zoo.keys import FRONTEND

SECTIONS = ("preprocessing", "feature_extraction")


def has_front_end(document: Document) -> bool:
    """Whether the document says what a front end is."""
    return any(key in FRONTEND for key in document.leaves)


def exact_front_end(document: Document) -> FrontendConfig:
    """The front end with the behaviour of the version of the zoo that the document is for.

    Raises:
        AedError: A section is missing, or a value is out of range.
    """
    found: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    for key in sorted(FRONTEND & document.leaves.keys()):
        section, name = key.split(".")
        found[section][name] = document.raw(key)
    for section, values in found.items():
        if not values:
            raise AedError(f"{document.name}: no section {section}; need preprocessing and feature_extraction")
    since_v4 = document.generation == "v4"
    try:
        return FrontendConfig.from_st(found["preprocessing"], found["feature_extraction"], since_v4)
    except TypeError as error:
        raise AedError(f"{document.name}: a value of another type than it should be ({error})") from error
    except AedError as error:
        raise AedError(f"{document.name}: {error}") from error


def map_front_end(draft: Draft) -> None:
    """Chooses the preset that is nearest, and sets what differs from it."""
    if not has_front_end(draft.document):
        return
    wanted = exact_front_end(draft.document)
    if not draft.exact:
        wanted = replace(wanted, trim="aligned", sample_bits=16)
    if weights := _weights(draft):
        offset = PRESETS[weights.frontend].log_offset
        if not wanted.to_db and wanted.log_offset != offset:
            text = (
                f"model.pretrained=true, frontend.log_offset={offset:g} as in its training; there {wanted.log_offset:g}"
            )
            draft.note("better", "training.model.pretrained_weights", text)
            wanted = replace(wanted, log_offset=offset)
        try:
            weights.check_frontend(wanted)
        except AedError as error:
            raise AedError(f"{draft.document.name}: {error}") from error
    draft.groups["frontend"], differing = nearest_preset(wanted)
    draft.values |= {f"frontend.{name}": value for name, value in differing.items()}
    for key in FRONTEND & draft.document.leaves.keys():
        draft.note("mapped", key, "frontend." + FrontendConfig.st_field(*key.split(".")))
    if draft.document.generation == "v4":
        for key in ("preprocessing.trim_last_second", "feature_extraction.include_last_patch"):
            draft.note("unread", key, "without effect since version 4")
    if not draft.exact:
        text = "frontend.trim_top_db, by blocks that measure themselves; exact=true: the zoo's, which can cut an onset"
        draft.note("better", "preprocessing.top_db", text)


def _weights(draft: Draft) -> Weights | None:
    """The published weights that training starts from."""
    if not draft.values["model.pretrained"]:
        return None
    if draft.groups["model/net"] == "yamnet":
        return YAMNet.WEIGHTS[draft.values.get("model.net.weights", "st")]
    return published(*(draft.values[f"model.net.{key}"] for key in ("version", "n_stacks", "pooling")))


def nearest_preset(wanted: FrontendConfig) -> tuple[str, dict[str, object]]:
    """The preset that differs from a front end in the fewest fields, and the values of those."""
    values = asdict(wanted)
    differing = {
        name: {field: value for field, value in values.items() if getattr(preset, field) != value}
        for name, preset in PRESETS.items()
    }
    nearest = min(differing, key=lambda name: len(differing[name]))
    return nearest, differing[nearest]
