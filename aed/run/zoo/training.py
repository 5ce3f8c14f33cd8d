"""The net, its augmentation and its training, of a document."""

import re
from typing import Any

from aed.run.zoo.draft import Draft

_NETS = {"yamnet": "yamnet", "miniresnet": "miniresnet", "miniresnetv2": "miniresnet", "custom": "dscnn"}
_V4 = re.compile(r"yamnet_e(?P<size>256|512|1024)|miniresnet(?P<version>v1|v2)_s(?P<stacks>[1-9])(?P<pooled>_ap)?")
"""Names of models since version 4."""

_POOLING = {"none": "none", "avg": "avg", "max": "max"}


def map_net(draft: Draft) -> None:
    """The net and where its weights are from."""
    document, key = draft.document, "training.model.name"
    name = (document.text(key) or "").lower()
    if match := _V4.fullmatch(name):
        facts: dict[str, Any] = match.groupdict()
        net = "yamnet" if facts["size"] else "miniresnet"
        size, version = facts["size"] and int(facts["size"]), facts["version"]
        stacks, pooling = facts["stacks"] and int(facts["stacks"]), "avg" if facts["pooled"] else "none"
    else:
        net = draft.one_of(key, _NETS, "yamnet")
        size, stacks = document.whole("training.model.embedding_size"), document.whole("training.model.n_stacks")
        version = document.text("training.model.version") or ("v2" if name == "miniresnetv2" else "v1")
        pooling = draft.one_of("training.model.pooling", _POOLING, "none")
    draft.choose(key, "model/net", net)
    draft.groups["model/net"] = net
    pretrained = document.flag("training.model.pretrained_weights")
    pretrained = net != "dscnn" and pretrained is not False
    if net == "yamnet":
        _yamnet(draft, size or 256, pretrained)
    elif net == "miniresnet":
        _miniresnet(draft, version, stacks or 1, pooling, pretrained)
    else:
        text = "model/net=dscnn, the small net here; a class of yours: model/net=user (docs/own_net.md)"
        draft.note("none", key, text)
    draft.values["model.pretrained"] = pretrained
    draft.note("mapped", "training.model.pretrained_weights", f"model.pretrained={str(pretrained).lower()}")
    for unread in ("embedding_size", "n_stacks", "version", "pooling"):
        if f"training.model.{unread}" not in draft.notes:
            draft.note("unread", f"training.model.{unread}", "of another net")


def _yamnet(draft: Draft, size: int, pretrained: bool) -> None:
    key = "training.model.embedding_size"
    if size not in (256, 512, 1024):
        raise draft.fail(key if key in draft.document.leaves else "training.model.name", "need 256, 512 or 1024")
    draft.values["model.net.embedding_size"] = size
    draft.note("mapped", key, f"model.net.embedding_size={size}")
    if size != 256 and pretrained:  # ST's of these sizes are Google's, cut
        draft.values["model.net.weights"] = "google"
        text = f"model.net.embedding_size={size} model.net.weights=google, with Google's own log_offset=1e-3"
        draft.note("better", key, text)


def _miniresnet(draft: Draft, version: str, stacks: int, pooling: str, pretrained: bool) -> None:
    if version not in ("v1", "v2"):
        raise draft.fail("training.model.version", f"need v1 or v2, got {version}")
    if pretrained and (stacks not in (1, 2) or pooling == "max"):
        key = "n_stacks" if stacks not in (1, 2) else "pooling"
        key = f"training.model.{key}" if f"training.model.{key}" in draft.document.leaves else "training.model.name"
        raise draft.fail(key, "no weights of this net are published; set pretrained weights to False")
    draft.values |= {"model.net.version": version, "model.net.n_stacks": stacks, "model.net.pooling": pooling}
    for key, value in (("version", version), ("n_stacks", stacks), ("pooling", pooling)):
        draft.note("mapped", f"training.model.{key}", f"model.net.{key}={value}")


def map_augmentation(draft: Draft) -> None:
    """The section ``data_augmentation``."""
    document = draft.document
    section = "data_augmentation"
    noise = document.number(f"{section}.GaussianNoise.scale")
    if document.flag(f"{section}.GaussianNoise.enable") is not False and noise:
        draft.set(f"{section}.GaussianNoise.scale", "model.augment.noise_std", float(noise))
    if document.flag(f"{section}.VolumeAugment.enable"):
        low, high = (document.number(f"{section}.VolumeAugment.{end}_scale") for end in ("min", "max"))
        draft.values |= {"model.augment.min_gain": float(low or 1), "model.augment.max_gain": float(high or 1)}
        for end in ("min", "max"):
            text = f"model.augment.{end}_gain, of each patch, added to log features as a gain acts; there multiplied"
            draft.note("better", f"{section}.VolumeAugment.{end}_scale", text)
    if document.flag(f"{section}.SpecAug.enable"):
        for axis in ("freq", "time"):
            count, width = (
                document.whole(f"{section}.SpecAug.{key}") for key in (f"n_{axis}_mask", f"{axis}_mask_param")
            )
            if count and width:
                draft.set(f"{section}.SpecAug.n_{axis}_mask", f"model.augment.{axis}_masks", count)
                draft.set(f"{section}.SpecAug.{axis}_mask_param", f"model.augment.{axis}_mask_width", width)
        text = "model.augment.mask_value=silence, or mean; 0 is a loud sound in log features"
        draft.note("better", f"{section}.SpecAug.mask_value", text)
    for key in document.leaves:
        if key.startswith(f"{section}."):
            part = key.split(".")[1]
            if key.endswith(".enable"):
                draft.note("mapped", key, "model.augment.*")
            elif key not in draft.notes:
                draft.note("unread", key, f"{part} is switched off, or changes nothing")


def map_training(draft: Draft) -> None:
    """Epochs, batches, fine-tuning."""
    document = draft.document
    batch = document.whole("training.batch_size")
    draft.set("training.batch_size", "data.batch_size", batch)
    if batch is None:
        draft.set("general.batch_size", "data.eval_batch_size", document.whole("general.batch_size"))
    else:
        draft.note("unread", "general.batch_size", "training.batch_size was used")
    draft.set("training.epochs", "trainer.max_epochs", document.whole("training.epochs"))
    tuned = bool(document.flag("training.fine_tune"))
    if draft.values["model.pretrained"]:
        draft.set("training.fine_tune", "model.fine_tune", tuned)
    else:
        draft.note("unread", "training.fine_tune", "a net without pretrained weights is trained whole")
    dropout = document.number("training.dropout")
    draft.note("mapped", "training.dropout", "model.net.dropout, which dscnn has fixed")
    if draft.groups["model/net"] != "dscnn":
        draft.set("training.dropout", "model.net.dropout", None if dropout is None else float(dropout))
    if document.flag("general.deterministic_ops") is not None:
        draft.set("general.deterministic_ops", "trainer.deterministic", document.flag("general.deterministic_ops"))
    resumed = document.file("training.resume_training_from")
    if resumed:
        text = "ckpt_path=<run>/checkpoints/last.ckpt of a run of this project; a Keras model cannot be resumed"
        draft.note("none", "training.resume_training_from", text)
