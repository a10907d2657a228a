"""How a record is made again: the command, and what the record cannot say of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """What somebody needs to make a record again.

    Attributes:
        command: The command line, for a shell in a clone.
        notes: What has to be put in or looked after, a sentence each.
    """

    command: str
    notes: tuple[str, ...]


def recipe(record: Json) -> Recipe:
    """Derive the command from a record's content.

    Claims are named by the folder of their paper, as a clone has them.
    """
    checkpoint, environment = record["checkpoint"], record["environment"]
    regime = checkpoint.get("regime", {})
    papers = dict.fromkeys(name.split("/")[0] for name in record["declarations"])
    words = [f"OMP_NUM_THREADS={environment['threads']}", "pytest"]
    words += [f"claims/{paper.replace('-', '_')}" for paper in papers]
    if checkpoint.get("spec") is not None:
        words += ["--claims-model", checkpoint["spec"]]
    words += ["--claims-profile", record["profile"], "--claims-seed", str(record["seed"])]
    if record.get("layers"):
        words += ["--claims-layers", ",".join(str(layer) for layer in record["layers"])]
    if record.get("redraw"):
        words += ["--claims-redraw", record["redraw"]]
    for name in ("device", "device_map", "dtype", "attention", "remote"):
        if regime.get(name) not in (None, "", _REFERENCE.get(name)):
            words += [f"--claims-{name.replace('_', '-')}", regime[name]]
    shard = record.get("shard")
    # Several of them are several runs.
    if shard is not None and len(shard["parts"]) == 1:
        words += ["--claims-shard", f"{shard['parts'][0]}/{shard['of']}"]
    notes = []
    corpus, tasks = record["corpus"], record["tasks"]
    if corpus is not None and not _built_in_text(corpus):
        words += ["--claims-corpus", corpus["name"]]
        notes.append(
            f"{corpus['name']} is the user's own text, sha256 {corpus['digest']}; give its path."
        )
    if tasks and not _built_in_tasks(tasks):
        words += ["--claims-tasks", "FOLDER"]
        notes.append("The tasks are the user's own; FOLDER holds them, by the names listed here.")
    packages = environment["packages"]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    notes.append(
        f"With the same code, Python {environment['python']} and {versions} on the same machine "
        "the digest comes out the same; elsewhere the last digits of a figure may differ."
    )
    return Recipe(shlex.join(words), tuple(notes))


_REFERENCE = {"device": "cpu", "dtype": "float32", "attention": "eager"}


def _built_in_text(corpus: Json) -> bool:
    from stillwired.data.corpus import BUILT_IN

    return bool(corpus["name"] == BUILT_IN)


def _built_in_tasks(tasks: Json) -> bool:
    """Go by the names: to draw the tasks and compare digests would take seconds."""
    folder = resources.files("stillwired.data") / "tasks"
    return all((folder / f"{name}.json").is_file() for name in tasks)
