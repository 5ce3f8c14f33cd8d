"""Folders named by an address of an object store: copied once, then known by what the store says of each object.

Paths stay paths: :func:`folder_of` is the one place where an address becomes one.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from aed.base.addresses import check_address
from aed.base.errors import AedError, in_brief
from aed.base.extras import need
from aed.base.files import write_whole
from aed.base.paths import cache_dir

log = logging.getLogger(__name__)

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs"}
_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and AWS_ENDPOINT_URL for another store"
_TAGS = ("ETag", "etag", "md5", "mtime", "LastModified", "modified", "created")
"""Facts that change with an object's content, the surest first."""

_MANIFEST = ".objects.json"
_AT_ONCE = 8


def is_url(text: str) -> bool:
    """Whether a text is an address, ``s3://bucket/sounds``, rather than a path."""
    return _URL.match(text) is not None


def folder_of(key: str, text: str, keeps: bool = False) -> Path:
    """The path itself; of an address, that of its copy in the cache, brought up to date.

    Args:
        key: That has it, for messages.
        text: Path or address of a folder, or of one file.
        keeps: Whether files stay that the store has not: those of a cache that grows here.

    Raises:
        AedError: The store denies, or has nothing there.
    """
    if not is_url(text):
        return Path(text)
    check_address(key, text, _CREDENTIALS)
    name = PurePosixPath(text.rstrip("/")).name
    place = cache_dir() / "remote" / hashlib.sha256(text.rstrip("/").encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):
        _update(key, text, place / name, place / _MANIFEST, keeps)
    return place / name


def _update(key: str, url: str, folder: Path, manifest: Path, keeps: bool) -> None:
    """Copies what is new or changed, removes what the store no longer has, and notes what there is."""
    store, root = _store(key, url)
    objects = _listed(key, url, store, root)
    known = json.loads(manifest.read_bytes()) if manifest.is_file() else {}
    wanted = {name: tag for name, tag in objects.items() if known.get(name) != tag or not (folder / name).is_file()}
    if wanted:
        log.info("%s: copying %d of %d objects to %s", url, len(wanted), len(objects), folder)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        copies = pool.map(
            lambda name: _copied(store, f"{root}/{name}".rstrip("/"), folder / name, objects[name][0]), wanted
        )
        failed = {name: reason for name, reason in zip(wanted, copies, strict=True) if reason}
    if failed and len(failed) == len(objects):
        raise AedError(f"{key}: {url}: none of its objects can be read: {next(iter(failed.values()))}")
    for name, reason in list(failed.items())[:5]:
        log.warning("left out: %s/%s: %s", url, name, reason)
    if len(failed) > 5:
        log.warning("left out: %d objects of %s in all", len(failed), url)
    for name in failed if keeps else {*failed, *(known.keys() - objects.keys())}:
        (folder / name).unlink(missing_ok=True)
    there = {name: tag for name, tag in objects.items() if name not in failed}
    content = json.dumps(there).encode()
    write_whole(manifest, lambda file: file.write(content))


def _store(key: str, url: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    from fsspec.core import url_to_fs

    scheme = url.partition("://")[0].lower()
    if scheme in _PACKAGES:
        need(_PACKAGES[scheme], f"{key}={url}")
    try:
        store, root = url_to_fs(url, use_listings_cache=False)  # else what is new there is not seen
    except (ImportError, ValueError, TypeError) as error:
        why = in_brief(error)
        raise AedError(f"{key}: {url}: cannot be opened ({why}); need a path or s3://bucket/folder") from error
    return store, str(root).rstrip("/")


def _listed(key: str, url: str, store: Any, root: str) -> dict[str, list[Any]]:
    """Name below the address -> size, and what changes with the content; hidden ones are left out.

    The name of what lies at the address itself is empty: it is one file.
    """
    try:
        found: Mapping[str, Mapping[str, Any]] = store.find(root, detail=True)
    except PermissionError as error:
        raise AedError(f"{key}: {url}: the store denies it ({in_brief(error)}); set {_CREDENTIALS}") from error
    except FileNotFoundError:
        found = {}
    except Exception as error:  # of whatever library
        raise AedError(f"{key}: {url}: cannot be listed ({in_brief(error)}); set {_CREDENTIALS}") from error
    names = {path.removeprefix(root).lstrip("/"): info for path, info in found.items()}
    objects = {
        name: [info.get("size"), next((str(info[tag]) for tag in _TAGS if info.get(tag)), "")]
        for name, info in names.items()
        if (name or len(names) == 1) and not any(part.startswith(".") or "\\" in part for part in name.split("/"))
    }
    if not objects:
        raise AedError(f"{key}: {url}: no object there; need the address of a folder, s3://bucket/folder, or of a file")
    return objects


def _copied(store: Any, source: str, path: Path, size: int | None) -> str:
    """Copies an object; why it cannot be, else nothing."""
    try:
        with store.open(source, "rb") as remote:
            write_whole(path, lambda file: shutil.copyfileobj(remote, file))
        if size is not None and path.stat().st_size != size:
            path.unlink()
            return f"{size} bytes were promised, {os.fspath(path)} had others; it changes, run again"
    except AedError:
        raise
    except PermissionError as error:
        return f"the store denies it ({in_brief(error)})"
    except Exception as error:  # of whatever library
        return in_brief(error)
    return ""
