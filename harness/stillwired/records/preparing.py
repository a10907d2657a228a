"""Before a run measures: its files are checked, and its checkpoints are made ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stillwired.options import RunOptions
from stillwired.records.trial import check_survivors
from stillwired.settings import Settings

if TYPE_CHECKING:
    from stillwired.checkpoints.prepare import Prepared


def check_files(options: RunOptions) -> None:
    """Read the small files that options name, so that mistakes in them are told at once.

    Raises:
        StillwiredError: If one of them cannot be meant.
    """
    if options.settings.tasks is not None:
        from stillwired.data.tasks import load_task_folder

        load_task_folder(options.settings.tasks)
    check_survivors(options)


def cache_of(settings: Settings) -> Path:
    """Return the cache's folder: the one that was asked for, or the user's."""
    from stillwired.store.cache import Store

    return settings.cache or Store.default_root()


def prepare_for(settings: Settings, spec: str, say: Callable[[str], None]) -> Prepared:
    """Fetch, verify and convert a checkpoint, unless the cache holds it already.

    Raises:
        StillwiredError: If the checkpoint cannot be had, or not in the regime or on the host
            that was asked for.
    """
    from stillwired.checkpoints.prepare import prepare
    from stillwired.checkpoints.regime import Regime, check_regime
    from stillwired.store.cache import Store

    regime = replace(Regime.of(settings), remote="")
    # Before anything is fetched; the reference is had everywhere, and needs no torch to say so.
    if regime != Regime():
        check_regime(regime)
    if settings.remote:
        from stillwired.engine.remote import check_host, host_of

        check_host(host_of(settings.remote, spec))
    return prepare(spec, Store(cache_of(settings), say), say=say)
