"""What a run would judge, before it does: claims, checkpoints, data, and what would measure them.

A record that is there already is as good as a new one if nothing of that has changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.records.files import read_json, write_json
from stillwired.records.making import differences
from stillwired.records.record import Record
from stillwired.records.run import environment
from stillwired.records.session import CellId, Run

if TYPE_CHECKING:
    from stillwired.settings import Settings

Json = dict[str, Any]


def write_outline(path: Path, run: Run, cells: Iterable[CellId]) -> None:
    """Say what a run that is ready to measure would judge.

    Args:
        path: The JSON file.
        run: The run, its checkpoints prepared and its code noted.
        cells: Its cells.

    Raises:
        StillwiredError: If the user's own text or tasks cannot be read, or the file be written.
    """
    outline = {
        "environment": environment() | {"code": run.folder.notes("code")["code"]},
        "checkpoints": run.folder.notes("checkpoint"),
        "corpus": _own_text(run),
        "tasks": _own_tasks(run.settings),
        "declarations": {cell.claim.id: cell.claim.to_json() for cell in cells},
    }
    write_json(path, outline)


def read_outline(path: Path) -> Json:
    """Read an outline.

    Raises:
        RecordError: If it is missing or is not JSON.
    """
    outline: Json = read_json(path, "outline")
    return outline


def outdated(record: Record, outline: Json) -> str:
    """Say what has changed since a record was made; empty if it would come out the same.

    Args:
        record: The record, of a run that was asked for the same.
        outline: What that run would judge now.
    """
    data = record.data
    found = [str(one) for one in differences(data["environment"], outline["environment"])]
    checkpoint = outline["checkpoints"].get(data["checkpoint"]["spec"])
    # Claims that read no checkpoint have a record of their own.
    if checkpoint is not None and checkpoint.get("digest") != data["checkpoint"].get("digest"):
        found.append("the checkpoint")
    text, own = data["corpus"], outline["corpus"]
    if text is not None and own is not None and text["digest"] != own:
        found.append("the text")
    tasks, own = data["tasks"], outline["tasks"]
    if tasks is not None and own is not None and tasks != own:
        found.append("the tasks")
    declared = outline["declarations"]
    if any(declared.get(name) != about for name, about in data["declarations"].items()):
        found.append("the declarations of claims")
    return ", ".join(found)


def _own_text(run: Run) -> str | None:
    """The digest of the user's own text; the built-in text is code."""
    if run.settings.corpus is None:
        return None
    from stillwired.data.corpus import load_corpus
    from stillwired.records.preparing import cache_of
    from stillwired.store.cache import Store

    store = Store(cache_of(run.settings), run.say)
    return load_corpus(store, run.settings.corpus, say=run.say).digest


def _own_tasks(settings: Settings) -> dict[str, str] | None:
    """The digests of the user's own tasks by name; the built-in ones are code."""
    if settings.tasks is None:
        return None
    from stillwired.data.tasks import load_task_folder
    from stillwired.instruments.questions import digest_of

    return {name: digest_of(task) for name, task in load_task_folder(settings.tasks).items()}
