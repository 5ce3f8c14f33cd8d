"""Google's Speech Commands: folders of words, two lists of files, and recordings of background noise.

P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209, 2018. A name is
``<speaker>_nohash_<take>.wav``; the lists are made from the hash of the speaker, who so is in one of them only.
"""

import logging
import re
from pathlib import Path

import pandas as pd

from aed.base.errors import AedError
from aed.datamodules.sources.lists import class_name, read_rows
from aed.datamodules.sources.published import Errors, PublishedSource, clip_table

log = logging.getLogger(__name__)

LISTS = {"validation_list.txt": "val", "testing_list.txt": "test"}
BACKGROUND = "_background_noise_"
_NAME = re.compile(r"(?P<speaker>[^/]+)_nohash_\d+(?:\.wav){1,2}")  # some archives have .wav twice


class SpeechCommands(PublishedSource):
    """Google's Speech Commands (P. Warden, 2018; CC BY 4.0): a second of speech per clip, a folder per word.

    Validation and test are those of ``validation_list.txt`` and ``testing_list.txt``, all others train. The speaker is
    the source. Folders that begin with ``_`` are no words: ``data.negatives=<root>/_background_noise_`` makes the
    recordings of noise training clips of a class ``background``.

    Args:
        root: Folder of the words' folders and the lists; default ``speech_commands_v0.02`` in ``$AED_DATA_DIR``.
        official_split: By the lists. False: all clips are free for ``data.split=source``, which keeps a speaker on one
            side.
    """

    name = "speech_commands"

    def __init__(self, root: str | None = None, official_split: bool = True) -> None:
        super().__init__(root, "speech_commands_v0.02")
        self.official_split = official_split

    def read(self) -> tuple[pd.DataFrame, Errors]:
        """The clip table; files without a speaker in their name, and lines without a file, are left out."""
        errors = Errors()
        split_of = self._listed(errors) if self.official_split else {}
        clips: list[tuple[Path, str, str, str]] = []
        for folder in sorted(path for path in self.root.iterdir() if path.is_dir() and path.name[0] not in "._"):
            for path in sorted(folder.glob("*.wav")):
                if match := _NAME.fullmatch(path.name):
                    key = f"{folder.name}/{path.name}"
                    clips.append((path, class_name(folder.name), match["speaker"], split_of.pop(key, "train")))
                else:
                    errors[path] = f"{path}: no speaker in its name, which need be <speaker>_nohash_<number>.wav"
        for line in self._lines() if split_of else ():
            if line[2] in split_of:
                errors[line[0]] = f"{line[1]}: there is no file {line[2]}"
        if (noise := self.root / BACKGROUND).is_dir():
            log.info("%s: no word, left out; as training clips of a class background: data.negatives=%s", noise, noise)
        rows = pd.DataFrame(clips, columns=["path", "word", "speaker", "split"])
        return clip_table(
            rows,
            path=rows["path"],
            labels=[(word,) for word in rows["word"]],
            src_file=rows["speaker"],
            split=rows["split"] if self.official_split else pd.NA,
        ), errors

    def _lines(self) -> list[tuple[Path, str, str, str]]:
        """Key and place of each line of the lists, the file that it names, and its split."""
        lines = []
        for listing, split in LISTS.items():
            file = self.root / listing
            if not file.is_file():
                raise AedError(
                    f"{file}: no such list; unpack the archive whole, or type data.clips.official_split=false "
                    "data.test_fraction=0.1 data.val_fraction=0.1, which keeps each speaker on one side"
                )
            for index, name in read_rows(file, ("filename",))["filename"].items():
                number = int(index) + 2  # type: ignore[call-overload]
                lines.append((Path(f"{file}:{number}"), f"{file}, line {number}", name, split))
        return lines

    def _listed(self, errors: Errors) -> dict[str, str]:
        """Split of each listed file; lines that repeat another are errors.

        Raises:
            AedError: A list is missing, or a file is in both.
        """
        split_of: dict[str, str] = {}
        for key, place, name, split in self._lines():
            if split_of.get(name, split) != split:
                raise AedError(f"{place}: {name} is in {' and '.join(LISTS)}; keep it in one")
            if name in split_of:
                errors[key] = f"{place}: {name} stands in the list before"
            split_of[name] = split
        return split_of
