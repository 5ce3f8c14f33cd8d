"""The data set of a document: sources, splits, classes."""

from aed.base.errors import AedError
from aed.run.zoo.draft import Draft
from aed.scoring.labels import OTHER

_NAMES = {"esc10": "esc10", "esc-10": "esc10", "esc50": "custom", "custom": "custom", "fsd50k": "fsd50k"}
_SETS = {"validation": "val", "test": "test", "quantization": "calibration"}
_EXACT_SEED = 123
"""Of the zoo, where 0 or nothing is given."""


def map_data(draft: Draft) -> None:
    """The section ``dataset``."""
    kind = draft.one_of("dataset.name", _NAMES, "custom")
    _sources(draft, kind)
    _split(draft, kind)
    _classes(draft)
    _seeds(draft)
    _fsd50k(draft, kind)


def _sources(draft: Draft, kind: str) -> None:
    document = draft.document
    lists = {name: document.file(f"dataset.{name}_csv_path") for name in ("training", *_SETS)}
    folders = {name: document.file(f"dataset.{name}_audio_path") for name in lists}
    for name, folder in folders.items():
        if folder and not lists[name]:
            raise draft.fail(f"dataset.{name}_audio_path", f"a folder without its {name}_csv_path; give both or none")
    if kind == "fsd50k":
        draft.choose("dataset.name", "data", "fsd50k")
        for name in lists:
            for end in ("csv", "audio"):
                key = f"dataset.{name}_{end}_path"
                draft.note("unread", key, "dataset_specific.fsd50k says where FSD50K is")
                if name in ("test", "quantization"):
                    draft.note(
                        "none", key, "tested on eval, calibrated on training clips; aed evaluate takes other data"
                    )
        return
    first = next((name for name in ("training", "test", "quantization", "validation") if lists[name]), None)
    if first is None:
        draft.choose("dataset.name", "data", "esc10" if kind == "esc10" else "folder")
        if kind != "esc10":
            draft.values["data.clips.root"] = "sounds"
            draft.note("better", "dataset.name", "no list is given: data=folder, sounds/<class>/*.wav, or data=esc_csv")
        return
    folder = folders[first] or folders["training"]
    if not folder:
        raise draft.fail(f"dataset.{first}_csv_path", f"a list without the folder of its files, {first}_audio_path")
    draft.choose("dataset.name", "data", "esc_csv")
    draft.set(f"dataset.{first}_csv_path", "data.clips.csv", lists[first])
    draft.set(f"dataset.{first}_audio_path", "data.clips.audio_dir", folder)
    for name, ours in _SETS.items():
        if name == first or not lists[name]:
            continue
        if lists[name] == lists[first]:
            draft.note("better", f"dataset.{name}_csv_path", "the list of all clips; each is in one split alone")
            draft.note("better", f"dataset.{name}_audio_path", "data.clips.audio_dir")
            continue
        draft.set(f"dataset.{name}_csv_path", f"data.clips.{ours}_csv", lists[name])
        draft.set(f"dataset.{name}_audio_path", f"data.clips.{ours}_audio_dir", folders[name])


def _split(draft: Draft, kind: str) -> None:
    document = draft.document
    shares = {}
    for key in ("dataset.validation_split", "dataset.test_split"):
        share = document.number(key)
        if share is not None and not 0 <= share < 1:
            raise draft.fail(key, f"need a share from 0 to 1, got {share}")
        shares[key] = share or 0.2
    if kind == "fsd50k":
        text = "the published splits: chosen on its validation clips, tested once on eval"
        for key in shares:
            draft.note("better", key, text)
        return
    if kind == "esc10" and not draft.exact:
        draft.values |= {"data.split": "folds", "data.test_fold": 5, "data.val_fold": 4}
        text = "published folds that share no recording: data.test_fold=5, data.val_fold=4; exact=true: random, leaks"
        for key in shares:
            draft.note("better", key, text)
        return
    val, test = shares["dataset.validation_split"], shares["dataset.test_split"]
    if document.generation == "2023":
        val = round(val * (1 - test), 6)  # there a share of what is left
    else:
        test = val
    if val + test >= 1:
        raise draft.fail("dataset.validation_split", "leaves nothing to train on, with a test set of the same size")
    draft.values |= {"data.split": "random", "data.val_fraction": val, "data.test_fraction": test}
    text = f"data.split=random data.val_fraction={val:g} data.test_fraction={test:g}: nothing is chosen on test clips"
    for key in shares:
        draft.note("better", key, text)
    for ours in ("val", "test"):
        if f"data.clips.{ours}_csv" in draft.values:
            draft.values[f"data.{ours}_fraction"] = 0.0


def _classes(draft: Draft) -> None:
    document = draft.document
    names = document.names("dataset.class_names")
    draft.set("dataset.class_names", "data.class_names", sorted(names) if names else None)
    text = "data.class_names=[...], or leave it out: all classes of the data"
    draft.note("none", "dataset.classes_file_path", text)
    draft.note("mapped", "dataset.multi_label", "data.multi_label=false, the default")
    if document.flag("dataset.multi_label"):
        draft.values["data.multi_label"] = True
        draft.note("better", "dataset.multi_label", "data.multi_label=true trains here; it was refused there")
    garbage = document.flag("dataset.use_garbage_class")
    number = document.whole("dataset.n_samples_per_garbage_class")
    draft.note("mapped", "dataset.use_garbage_class", "data.garbage_class=false, the default")
    draft.note("unread", "dataset.n_samples_per_garbage_class", "without a garbage class")
    if not garbage:
        return
    if not names:
        raise draft.fail("dataset.use_garbage_class", "needs class_names; all other classes are the garbage class")
    if OTHER in names:
        raise draft.fail("dataset.use_garbage_class", f"class_names has a class {OTHER!r} of its own; rename it")
    if document.number("deployment.unknown_class_threshold"):
        raise draft.fail(
            "deployment.unknown_class_threshold", "and use_garbage_class exclude each other; leave one of them out"
        )
    draft.set("dataset.use_garbage_class", "data.garbage_class", True)
    key = "dataset.n_samples_per_garbage_class"
    if number is not None and number < 0:
        raise draft.fail(key, f"need a number of clips, got {number}")
    draft.set(key, "data.garbage_per_class", number or None)  # 0: left to the zoo
    text = "data.garbage_share=1 makes it as large as a class; there as large as all others together"
    draft.note("better", key, text) if not number else None


def _seeds(draft: Draft) -> None:
    seeds = {key: draft.document.whole(key) for key in ("general.global_seed", "dataset.seed")}
    for key, value in seeds.items():
        if value is not None and not 0 <= value < 2**32:
            raise draft.fail(key, f"need a seed from 0 to {2**32 - 1}, got {value}")
    draft.set("general.global_seed", "seed", seeds["general.global_seed"] or _EXACT_SEED)
    if (seeds["dataset.seed"] or _EXACT_SEED) == draft.values["seed"]:
        draft.note("mapped", "dataset.seed", f"seed={draft.values['seed']}; another split than there all the same")
    else:
        draft.set("dataset.seed", "data.seed", seeds["dataset.seed"] or _EXACT_SEED)


def _fsd50k(draft: Draft, kind: str) -> None:
    section, document = "dataset_specific.fsd50k", draft.document
    folders = {
        "csv_folder": "FSD50K.ground_truth",
        "dev_audio_folder": "FSD50K.dev_audio",
        "eval_audio_folder": "FSD50K.eval_audio",
    }
    keys = [*folders, "audioset_ontology_path", "only_keep_monolabel"]
    if kind != "fsd50k":
        for key in keys:
            draft.note("unread", f"{section}.{key}", "of another data set than dataset.name")
        return
    draft.values["data.clips.labels"] = "unsmeared"
    paths = {key: document.file(f"{section}.{key}") for key in folders}
    roots = {path.rpartition("/")[0] or "." for key, path in paths.items() if path and path.endswith(folders[key])}
    if len(roots) == 1 and all(path is None or path.endswith(folders[key]) for key, path in paths.items()):
        for key in folders:
            draft.set(f"{section}.{key}", "data.clips.data_dir", next(iter(roots)))
    for key, name in folders.items():
        if f"{section}.{key}" in document.leaves and "data.clips.data_dir" not in draft.values:
            draft.note("none", f"{section}.{key}", f"data.clips.data_dir=<folder> that holds {name} and the others")
    draft.note("better", f"{section}.audioset_ontology_path", "downloaded; data.clips.ontology=... is another file")
    single = document.flag(f"{section}.only_keep_monolabel")
    if single is False and document.flag("dataset.multi_label") is False:
        draft.values["data.multi_label"] = True
    text = f"data.multi_label={str(bool(draft.values.get('data.multi_label', False))).lower()} says it"
    draft.note("better" if single is False else "mapped", f"{section}.only_keep_monolabel", text)


def needs_data(draft: Draft) -> None:
    """Refuses a training without data.

    Raises:
        AedError: No list of training clips is given, and the data set is none that is known.
    """
    if draft.groups.get("data") == "folder":
        raise AedError(f"{draft.document.name}: dataset: a training needs training_csv_path and training_audio_path")
