"""What a run is asked to do: every option of it, read, and checked against one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillwired.errors import UsageError
from stillwired.mutants.catalogue import TRIED, mutant_named, split_spec, with_mutants
from stillwired.options.catalogue import INI_ONLY, OPTIONS
from stillwired.options.values import parse_layers, parse_models, parse_remote, parse_seed
from stillwired.profiles import profile_named
from stillwired.redraws import Redraw
from stillwired.settings import DEFAULT_MODEL, Settings
from stillwired.shards import Shard


@dataclass(frozen=True)
class Given:
    """The value that a user gave for an option, and the folder that its paths start from."""

    value: Any
    base: Path


def collect(
    typed: Callable[[str], Any], configured: Callable[[str], Any], here: Path, ini_folder: Path
) -> dict[str, Given]:
    """Collect what was given, by option name: on the command line, otherwise in the ini file.

    Args:
        typed: Finds the value on the command line by an option's key; None if it is not there.
        configured: Finds the value in the ini file by its key; None or empty if it is not there.
        here: Folder from which paths on the command line start.
        ini_folder: Folder from which paths in the ini file start.
    """
    given = {}
    for option in OPTIONS:
        value, base = typed(option.key), here
        if value is None:
            value, base = configured(option.key), ini_folder
        if value not in (None, "", []):
            given[option.name] = Given(value, base)
    lists = {name: configured(f"claims_{name}") for name in INI_ONLY}
    return given | {name: Given(value, ini_folder) for name, value in lists.items() if value}


@dataclass(frozen=True)
class RunOptions:
    """Every option of one run, parsed.

    Attributes:
        settings: What the measurement depends on.
        record: Where the record goes, or None for a folder of its own.
        report: Where the page goes, or None.
        expected: The file of expected verdicts, or None.
        baseline: The record or baseline that the run is compared with, or None.
        shard: Which part of a divided run this is, or None.
        mutants: Whether checkpoints are tried under mutants: they are then among the settings'
            models, each behind the undamaged one.
        survivors: The file of what mutants may leave standing, or None.
        outline: Where it is written what is going to be judged, or None.
    """

    settings: Settings
    record: Path | None = None
    report: Path | None = None
    expected: Path | None = None
    baseline: Path | None = None
    shard: Shard | None = None
    mutants: bool = False
    survivors: Path | None = None
    outline: Path | None = None


def parse(given: Mapping[str, Given]) -> RunOptions:
    """Turn the values that were given, by option name, into a run's options.

    Options that were not given are absent from the mapping.

    Raises:
        UsageError: If a value cannot be honoured; the message names the option.
    """

    def text(name: str, default: str) -> str:
        return str(given[name].value).strip() if name in given else default

    def path(name: str) -> Path | None:
        if name not in given:
            return None
        return given[name].base / Path(str(given[name].value)).expanduser()

    def known(name: str, what: str) -> Path | None:
        file = path(name)
        if file is not None and not file.is_file():
            raise UsageError(
                f"--claims-{name}: there is no file {file}. "
                f"Give a JSON file of {what}, or leave the option out."
            )
        return file

    corpus = path("corpus")
    if corpus is not None and not corpus.exists():
        raise UsageError(
            f"--claims-corpus: there is no file or folder {corpus}. "
            "Give a .jsonl file, a .txt file or a folder of .txt files."
        )
    tasks = path("tasks")
    if tasks is not None and not tasks.is_dir():
        raise UsageError(
            f"--claims-tasks: there is no folder {tasks}. Give a folder of .json files, one a task."
        )
    expected = known("expected", "expected verdicts")
    baseline = path("baseline")
    if baseline is not None:
        _check_baseline(baseline, given)
    record = path("record")
    if record is not None and record.suffix != ".json":
        raise UsageError(
            f"--claims-record: {record} does not end in .json. "
            "Name the JSON file; the outcomes are written beside it."
        )
    report = path("report")
    if report is not None and report.suffix not in (".html", ".htm"):
        raise UsageError(
            f"--claims-report: {report} does not end in .html. Name the page's file, as in "
            "report.html."
        )
    survivors = known("survivors", "known survivors")
    trusted = given["remote_hosts"].value if "remote_hosts" in given else ()
    models = parse_models(given["model"].value) if "model" in given else (DEFAULT_MODEL,)
    mutants = "mutants" in given or "mutants-only" in given
    if mutants:
        models = _mutants(models, text("mutants-only", ""), given)
    elif survivors is not None:
        raise UsageError("--claims-survivors is about --claims-mutants. Give both, or neither.")
    if "remote" in given and (damaged := _damaged(models)):
        raise UsageError(
            f"--claims-remote: a host runs weights of its own, and {damaged[0]} would damage the "
            "copy on this machine. Leave one of the two out."
        )
    dtype, attention = text("dtype", "float32").removeprefix("torch."), text("attention", "eager")
    redraw = None
    if "redraw" in given:
        _check_redraw(models, given)
        redraw = Redraw.parse(text("redraw", ""))
        redraw.check_regime(dtype, attention)
    settings = Settings(
        models=models,
        profile=profile_named(text("profile", "mutants" if mutants else "quick")),
        layers=parse_layers(text("layers", "")) if "layers" in given else (),
        device=text("device", "cpu"),
        device_map=text("device-map", ""),
        dtype=dtype,
        attention=attention,
        corpus=corpus,
        tasks=tasks,
        cache=path("cache"),
        remote=parse_remote(text("remote", ""), trusted),
        seed=parse_seed(text("seed", "0")),
        redraw=redraw,
        strict=bool(given["strict"].value) if "strict" in given else False,
    )
    return RunOptions(
        settings=settings,
        record=record,
        report=report,
        expected=expected,
        baseline=baseline,
        shard=Shard.parse(text("shard", "")) if "shard" in given else None,
        mutants=mutants,
        survivors=survivors,
        outline=path("outline"),
    )


def _damaged(models: Sequence[str]) -> list[str]:
    return [spec for spec in models if split_spec(spec)[1] is not None]


def _mutants(models: Sequence[str], only: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return every checkpoint, undamaged and under each mutant that is to be tried."""
    if damaged := _damaged(models):
        raise UsageError(
            f"--claims-mutants: {damaged[0]} is damaged already. Name the undamaged checkpoint."
        )
    for name in ("expected", "remote", "shard"):
        if name in given:
            raise UsageError(
                f"--claims-mutants: a matrix of claims and mutants goes without --claims-{name}. "
                "Leave one of the two out."
            )
    names = [name for name in only.split(",") if name.strip()]
    return with_mutants(models, [mutant_named(name) for name in names] or TRIED)


def _check_baseline(baseline: Path, given: Mapping[str, Given]) -> None:
    if not baseline.is_file():
        raise UsageError(
            f"--claims-baseline: there is no file {baseline}. Give a record, or a baseline that "
            "`stillwired baseline accept` wrote."
        )
    if "model" in given and len(given["model"].value) > 1:
        raise UsageError(
            "--claims-baseline is compared with one checkpoint, and --claims-model names "
            f"{len(given['model'].value)}. Run them one by one."
        )
    for name, remedy in (
        ("expected", "Each would decide the exit code: give one of them."),
        ("mutants", "Mutants are set against the undamaged checkpoint of their own run."),
        ("mutants-only", "Mutants are set against the undamaged checkpoint of their own run."),
        ("shard", "Put the shards together with `stillwired merge`, and compare with `diff`."),
    ):
        if name in given:
            raise UsageError(f"--claims-baseline does not go with --claims-{name}. {remedy}")


def _check_redraw(models: Sequence[str], given: Mapping[str, Given]) -> None:
    """Refuse to redraw what is judged for its own sake: a redraw asks about the suite."""
    for name in ("expected", "baseline", "mutants", "mutants-only", "remote", "shard"):
        if name in given:
            raise UsageError(
                f"--claims-redraw does not go with --claims-{name}. `stillwired calibrate` runs "
                "redraws, and `stillwired diff` compares the record of one with another."
            )
    if damaged := _damaged(models):
        raise UsageError(
            f"--claims-redraw: {damaged[0]} is damaged. Name the undamaged checkpoint."
        )
