#!/usr/bin/env bash
# fsspec 2026.9.0, LocalFileSystem: a file that is written in a transaction lies in TMPDIR until the commit, not beside its
# target, and the commit is shutil.move. Where TMPDIR is another file system, that is a copy into the target's own name:
# what reads meanwhile, or comes after a kill or a full disk, sees part of the new file in the place of the whole old one.
# Checkpoints of Lightning 2.6 are written in such a transaction, "atomically" by their docstring.
#
# Shown with Linux's /dev/shm as TMPDIR and a target on the disk: the size of the target, looked at while it is replaced
# by a file of 256 MiB (old: 3 bytes).
#
# Output seen:
#   written in /dev/shm, target on another file system: True
#   sizes seen besides the old and the new one: True
set -euo pipefail
[ -d /dev/shm ] || { echo "needs /dev/shm"; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install fsspec==2026.9.0
cd "$work"
TMPDIR=/dev/shm "$work/venv/bin/python" - <<'PYTHON'
import os
import threading
from pathlib import Path

import fsspec

target, size = Path("best.ckpt").absolute(), 256 << 20
target.write_bytes(b"old")
system = fsspec.filesystem("file")
seen, stop = set(), threading.Event()


def look():
    while not stop.is_set():
        try:
            seen.add(os.stat(target).st_size)
        except FileNotFoundError:
            seen.add(None)


watcher = threading.Thread(target=look)
watcher.start()
with system.transaction:
    with system.open(str(target), "wb") as file:
        file.write(bytes(size))
        place = file.temp
    other = os.stat(place).st_dev != os.stat(target).st_dev
stop.set()
watcher.join()
between = seen - {3, size}
print(f"written in {Path(place).parent}, target on another file system: {other}")
print(f"sizes seen besides the old and the new one: {bool(between)}")
assert Path(place).parent == Path("/dev/shm") and target.stat().st_size == size
if other:
    assert between, "the commit replaces the file at once now"
PYTHON
