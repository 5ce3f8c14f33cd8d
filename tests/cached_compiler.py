"""A compiler that compiles the same C once: tests find it on the PATH in the place of GCC.

Objects are kept under the hash of what they are made of: compiler, options, the text of the unit and of all files it
includes that are not the system's. Only what compiles without a word is kept; for all else the compiler itself is run
with the command as it was given, so that its messages and its exit code are its own.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDERS = ("-I", "-isystem")
WITH_VALUE = ("-o", "-T", "-D", *FOLDERS)
LINKING = re.compile(r"-([lLT]|Wl,|shared$|nostartfiles$)|[^-].*\.(o|a)$")
COMPILING = re.compile(r"-(std=|[gOWfm]|D.|I.|isystem.|pedantic|c$)")
INCLUDE = re.compile(rb"^[ \t]*#[ \t]*include\b[ \t]*(.*)", re.MULTILINE)


class NotKept(Exception):
    """The command is not one of those whose objects are kept."""


def files_of(unit: Path, folders: list[Path]) -> dict[Path, bytes]:
    """Texts of a unit and of all files that its includes may mean."""
    texts: dict[Path, bytes] = {}
    waiting = [unit]
    while waiting:
        path = waiting.pop()
        if path in texts:
            continue
        texts[path] = path.read_bytes()
        if b"__FILE__" in texts[path]:
            raise NotKept  # the object depends on where the file lies
        for what in INCLUDE.findall(texts[path]):
            name = re.match(rb"[\"<]([^\">]+)[\">]", what)
            if name is None:
                raise NotKept  # a macro says what is included
            places = [folder / name[1].decode() for folder in (path.parent, *folders)]
            waiting += [place for place in places if place.is_file()]
    return texts


def kept(real: str, cache: Path, unit: str, options: list[str]) -> Path:
    """The object of a unit, compiled if it is not there yet."""
    folders = [Path(word.removeprefix(kind)) for word in options for kind in FOLDERS if word.startswith(kind)]
    facts = [real, *(word for word in options if not word.startswith(FOLDERS))]
    digest = hashlib.sha256("\0".join(facts).encode())
    for path, text in files_of(Path(unit), folders).items():
        digest.update(b"\0%d %s\0" % (len(text), path.name.encode()) + text)
    place = cache / f"{digest.hexdigest()}.o"
    if not place.is_file():
        made = cache / f"{digest.hexdigest()}.{os.getpid()}"
        done = subprocess.run([real, *options, "-c", unit, "-o", made], capture_output=True, check=False)
        if done.returncode or done.stdout or done.stderr:
            raise NotKept
        made.replace(place)
    return place


def from_objects(real: str, cache: Path, command: list[str]) -> list[str]:
    """The command that links what ``command`` compiles and links, or copies what it compiles alone."""
    words, pairs = iter(command), []
    for word in words:
        pairs.append([word, next(words, "")] if word in WITH_VALUE else [word])
    options = ["".join(pair) for pair in pairs if COMPILING.match("".join(pair)) and not LINKING.match(pair[0])]
    units = [pair[0] for pair in pairs if pair[0].endswith(".c") and not pair[0].startswith("-")]
    outputs = [pair[1] for pair in pairs if pair[0] == "-o"]
    others = [pair for pair in pairs if pair[0] != "-o" and pair[0] not in units and "".join(pair) not in options]
    if not units or len(outputs) != 1 or not all(LINKING.match(pair[0]) for pair in others):
        raise NotKept
    compiles = "-c" in options
    options = [word for word in options if word != "-c"]
    objects = {unit: str(kept(real, cache, unit, options)) for unit in units}
    if compiles:
        if len(units) > 1 or others:
            raise NotKept
        return ["cp", objects[units[0]], outputs[0]]
    return [real, *(objects.get(word, word) for word in command)]


def main(real: str, cache: Path) -> None:
    """Does what ``real`` does with the arguments of this process."""
    command = sys.argv[1:]
    try:
        ready = from_objects(real, cache, command)
    except (NotKept, OSError):
        ready = [real, *command]
    os.execvp(ready[0], ready)


def install(folder: Path, cache: Path) -> None:
    """Writes into ``folder`` a program for each compiler that is on the PATH."""
    for name in ("gcc", "arm-none-eabi-gcc"):
        if real := shutil.which(name):
            program = folder / name
            text = Path(__file__).read_text(encoding="utf-8")
            program.write_text(
                f"#!{sys.executable} -IS\n{text}\n\nmain({real!r}, Path({str(cache)!r}))\n", encoding="utf-8"
            )
            program.chmod(0o755)
