"""UrbanSound8K: its csv and ten folds.

J. Salamon, C. Jacoby, J. P. Bello, A Dataset and Taxonomy for Urban Sound Research, ACM Multimedia 2014. Columns and
names of files as in its UrbanSound8K_README.txt: ``<fsID>-<classID>-<occurrenceID>-<sliceID>.wav``.
"""

import pandas as pd

from aed.datamodules.sources.published import Errors, PublishedSource, clip_table, rows_of, unlisted, usable

CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)
"""By ``classID``."""

FOLDS = tuple(str(number) for number in range(1, 11))


class UrbanSound8K(PublishedSource):
    """UrbanSound8K (J. Salamon et al., 2014; CC BY-NC): 8,732 clips of up to 4 s, 10 classes, 10 published folds.

    Read are ``metadata/UrbanSound8K.csv`` and ``audio/fold1`` to ``audio/fold10``. Clips cut from one recording of
    Freesound (``fsID``) are one source. Scores are to be compared over all ten folds: ``-m data.test_fold=1,2,...,10``.

    Args:
        root: Folder that holds ``metadata`` and ``audio``; default ``UrbanSound8K`` in ``$AED_DATA_DIR``.
    """

    name = "urbansound8k"
    origin = "Freesound"

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "UrbanSound8K")

    def read(self) -> tuple[pd.DataFrame, Errors]:
        """The clip table, with rows that contradict themselves or their files left out."""
        csv, audio = self.find("metadata/UrbanSound8K.csv", "UrbanSound8K.csv"), self.find("audio")
        rows = rows_of(csv, ("slice_file_name", "fsID", "fold", "classID", "class"))
        names, errors = rows["slice_file_name"], Errors()
        places = {path.name: path.parent.name for path in audio.glob("fold*/*")}
        elsewhere = names.map(places).fillna("fold" + rows["fold"])
        rows = rows.assign(place=elsewhere)
        number = {str(index): name for index, name in enumerate(CLASSES)}
        bad = {
            "no slice_file_name": names == "",
            "{slice_file_name} stands in the list before": names.duplicated(),
            "fold {fold} is none of 1 to 10": ~rows["fold"].isin(FOLDS),
            "class {class} is none of the ten": ~rows["class"].isin(CLASSES),
            "classID {classID} is not that of {class}": rows["classID"].map(number) != rows["class"],
            "fsID {fsID} is not that of {slice_file_name}": names.str.split("-").str[0] != rows["fsID"],
            "its file is in {place}, the list says fold {fold}": elsewhere != "fold" + rows["fold"],
        }
        listed = [audio / place / name for place, name in zip(elsewhere, names, strict=True)]
        errors |= unlisted(audio, listed, csv)
        rows = usable(rows, csv, bad, errors)
        return clip_table(
            rows,
            path=[audio / place / name for place, name in zip(rows["place"], rows["slice_file_name"], strict=True)],
            labels=[(name,) for name in rows["class"]],
            fold=rows["fold"].astype(int),
            src_file=rows["fsID"],
        ), errors
