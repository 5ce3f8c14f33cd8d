"""Building of the feature cache before anything is trained, by processes or machines of Dask."""

import logging
from collections.abc import Callable

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.cache.machines import ensure_by_dask
from aed.datamodules.cache.store import FeatureCache
from aed.datamodules.datamodule import warn_of
from aed.dsp.frontend import FrontendConfig

log = logging.getLogger(__name__)


def build(
    data: Callable[..., PatchDataModule],
    frontend: FrontendConfig,
    scheduler: str | None = None,
    num_workers: int = 0,
    strict: bool = False,
    seed: int = 0,
) -> None:
    """Computes the features of a data set that its cache lacks, by Dask distributed.

    Args:
        data: Data set: builds the DataModule.
        frontend: Front end.
        scheduler: Address of Dask's scheduler, ``tcp://host:8786``, whose workers see the recordings and the cache
            (``data.cache_dir``) under the same paths; null: processes of this machine.
        num_workers: Processes of this machine; 0: one per CPU.
        strict: End with an error where a recording has no features.
        seed: Seed of a random split.

    Raises:
        AedError: There is no data set, the scheduler or a worker cannot be used, or the cache cannot be written.
    """
    if num_workers < 0:
        raise AedError(f"num_workers: need at least 0, got {num_workers}")
    module = data(seed=seed)
    files = list(dict.fromkeys(module.table["path"]))
    cache = FeatureCache(module.cache.root, frontend, num_workers)
    bad = ensure_by_dask(cache, files, scheduler)
    warn_of(bad)
    log.info("features of %d of %d recordings in %s", len(files) - len(bad), len(files), cache.folder)
    if strict and bad:
        raise AedError(f"{len(bad)} of {len(files)} recordings have no features (strict=true); first: {min(bad)}")
