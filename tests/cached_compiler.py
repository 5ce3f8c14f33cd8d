"""A compiler that compiles and links the same C once: tests find it on the PATH in the place of GCC.

Objects are kept under the hash of what they are made of: compiler, options, the text of the unit and of all files it
includes that are not the system's; programs under that of their objects, options and linker script. Only what is made
without a word is kept; for all else the compiler itself is run with the command as it was given, so that its messages
and its exit code are its own. Commands of the tests' own process are answered in it (:func:`at_once`).

A program of it starts for each command: what few commands need is imported where it is needed.
"""

import hashlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FOLDERS = ("-I", "-isystem")
WITH_VALUE = ("-o", "-T", "-D", *FOLDERS)
LINKING = re.compile(r"-([lLT]|Wl,|shared$|nostartfiles$|nostdlib$)|[^-].*\.(o|a)$")
COMPILING = re.compile(r"-(std=|[gOWfm]|D.|I.|isystem.|pedantic|c$)")
KEPT_LINKING = re.compile(r"-l\w+$|-T$|-Wl,--gc-sections$|-shared$|-nostartfiles$|-nostdlib$|[^-].*\.o$")
INCLUDE = re.compile(rb"^[ \t]*#[ \t]*include\b[ \t]*(.*)", re.MULTILINE)

COPY = ["cp", "--remove-destination"]
"""As linkers do, to a new file: what a process has loaded from the old one stays what it is."""


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


def matters(option: str, texts: dict[Path, bytes]) -> bool:
    """Whether an object may depend on an option: a macro of ours that none of its texts names changes nothing."""
    macro = re.match(r"-D(AED_\w+)", option)
    return macro is None or any(macro[1].encode() in text for text in texts.values())


def kept(real: str, cache: Path, unit: str, options: list[str]) -> Path:
    """The object of a unit, compiled if it is not there yet."""
    folders = [Path(word.removeprefix(kind)) for word in options for kind in FOLDERS if word.startswith(kind)]
    texts = files_of(Path(unit), folders)
    facts = [real, *(word for word in options if not word.startswith(FOLDERS) and matters(word, texts))]
    digest = hashlib.sha256("\0".join(facts).encode())
    for path, text in texts.items():
        digest.update(b"\0%d %s\0" % (len(text), path.name.encode()) + text)
    return once(cache / f"{digest.hexdigest()}.o", [real, *options, "-c", unit])


def once(place: Path, command: Sequence[str | Path]) -> Path:
    """The output of a command, run if it is not there yet."""
    if not place.is_file():
        import subprocess

        made = place.with_suffix(f".{os.getpid()}")
        done = subprocess.run([*command, "-o", made], capture_output=True, check=False)
        if done.returncode or done.stdout or done.stderr:
            raise NotKept
        made.replace(place)
    return place


def linked(real: str, cache: Path, pairs: list[list[str]], options: list[str]) -> Path:
    """The program or library that some objects are linked to, linked if it is not there yet."""
    options = [word for word in options if not word.startswith((*FOLDERS, "-D"))]
    digest = hashlib.sha256("\0".join([real, *options]).encode())
    for pair in pairs:
        if not KEPT_LINKING.match(pair[0]):
            raise NotKept
        is_file = pair[0].endswith(".o") or pair[0] == "-T"
        content = Path(pair[-1]).read_bytes() if is_file else pair[0].encode()
        digest.update(b"\0%d %s" % (len(content), content))
    words = [word for pair in pairs for word in pair]
    return once(cache / f"{digest.hexdigest()}.linked", [real, *options, *words])


def keep_graphs(objects: Mapping[str, str], folder: Path) -> None:
    """Writes the graphs of calls that the compiler wrote beside objects to where it would have written them."""
    for unit, place in objects.items():
        graph = Path(place).with_suffix(".ci")
        if not graph.is_file():
            raise NotKept
        (folder / f"{Path(unit).stem}.ci").write_bytes(graph.read_bytes())


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
    if Path(outputs[0]).exists() and not Path(outputs[0]).is_file():
        raise NotKept  # a device, /dev/null for example, which a copy would take the place of
    compiles = "-c" in options
    options = [word for word in options if word != "-c"]
    objects = {unit: str(kept(real, cache, unit, options)) for unit in units}
    if any(word.startswith("-fcallgraph-info") for word in options):
        keep_graphs(objects, Path(outputs[0]).parent)
    if compiles:
        if len(units) > 1 or others:
            raise NotKept
        return [*COPY, objects[units[0]], outputs[0]]
    own = {"".join(pair) for pair in pairs if pair[0] == "-o"} | set(options)
    parts = [[objects.get(pair[0], pair[0]), *pair[1:]] for pair in pairs if "".join(pair) not in own]
    try:
        return [*COPY, str(linked(real, cache, parts, options)), outputs[0]]
    except NotKept:
        return [real, *(objects.get(word, word) for word in command)]


def at_once(
    finish: Callable[..., object], result: Callable[[int, str], object], reals: Mapping[str, str], cache: Path
) -> Callable[..., object]:
    """``aed.base.processes.finish`` that does what a program of :func:`install` does without starting it.

    Args:
        finish: Runs all other commands.
        result: Makes of exit code and output what ``finish`` returns.
        reals: Compiler by the path of the program that stands for it.
        cache: Of the objects.
    """
    import shutil

    def finish_at_once(command: Sequence[str | Path], timeout_s: float, *where: object, **more: object) -> object:
        real = reals.get(shutil.which(command[0]) or "")
        if real and not any((*where, *more.values())):
            try:
                *program, made, place = from_objects(real, cache, [str(part) for part in command[1:]])
                if program == COPY:
                    Path(place).unlink(missing_ok=True)
                    shutil.copy(made, place)
                    return result(0, "")
            except (NotKept, OSError):
                pass  # its own messages, from the program itself
        return finish(command, timeout_s, *where, **more)

    return finish_at_once


def main(real: str, cache: Path) -> None:
    """Does what ``real`` does with the arguments of this process."""
    command = sys.argv[1:]
    try:
        ready = from_objects(real, cache, command)
    except (NotKept, OSError):
        ready = [real, *command]
    os.execvp(ready[0], ready)


def install(folder: Path, cache: Path) -> dict[str, str]:
    """Writes into ``folder`` a program for each compiler that is on the PATH; returns the compiler of each."""
    import shutil

    reals = {}
    for name in ("gcc", "arm-none-eabi-gcc"):
        if real := shutil.which(name):
            program = folder / name
            text = Path(__file__).read_text(encoding="utf-8")
            program.write_text(
                f"#!{sys.executable} -IS\n{text}\n\nmain({real!r}, Path({str(cache)!r}))\n", encoding="utf-8"
            )
            program.chmod(0o755)
            reals[str(program)] = real
    return reals
