"""The command-line options of a run: what they are called, what they mean, how they are read.

Plain data and plain functions. The plugin turns :data:`OPTIONS` into pytest options and ini
keys, hands the collected values back to :func:`parse`, and gets a :class:`RunOptions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from stillwired.errors import UsageError
from stillwired.mutants.catalogue import (
    MARK,
    MUTANTS,
    Mutant,
    mutant_named,
    split_spec,
    with_mutants,
)
from stillwired.profiles import PROFILES, profile_named
from stillwired.redraws import Redraw
from stillwired.settings import DEFAULT_MODEL, Settings
from stillwired.shards import Shard


@dataclass(frozen=True)
class Option:
    """One option: ``--claims-<name>`` on the command line, ``claims_<name>`` in the ini file.

    Attributes:
        name: The part after the prefix.
        metavar: Placeholder in the help text; empty for a switch.
        default: The default as a user would type it; part of the help line.
        help: One line of help, without the default.
        repeatable: May be given several times; the ini key then holds a list.
    """

    name: str
    metavar: str
    default: str
    help: str
    repeatable: bool = False

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return f"--claims-{self.name}"

    @property
    def key(self) -> str:
        """The ini key, which is also the attribute under which pytest keeps the value."""
        return f"claims_{self.name.replace('-', '_')}"

    @property
    def help_line(self) -> str:
        """Help text with the default and the ini key."""
        return f"{self.help} Default: {self.default}. Ini key: {self.key}."

    @property
    def keywords(self) -> dict[str, Any]:
        """What argparse is told about the option, besides its flag."""
        told = {"dest": self.key, "default": None, "help": self.help_line.replace("%", "%%")}
        if not self.metavar:
            return {**told, "action": "store_true"}
        return {
            **told,
            "action": "append" if self.repeatable else "store",
            "metavar": self.metavar,
        }

    @property
    def ini_type(self) -> Literal["args", "string", "bool"]:
        """The type of the ini key, in pytest's words."""
        if self.repeatable:
            return "args"
        return "string" if self.metavar else "bool"


OPTIONS: tuple[Option, ...] = (
    Option(
        "model",
        "SPEC",
        DEFAULT_MODEL,
        "Checkpoint to judge: a registered name (`stillwired models` lists them), "
        "ORG/NAME@REVISION, a local folder or a .gguf file. SPEC~MUTANT damages it "
        "(docs/mutants.md). Repeat it for several checkpoints.",
        repeatable=True,
    ),
    Option(
        "profile",
        "NAME",
        "quick",
        f"How much is measured: {', '.join(PROFILES)}.",
    ),
    Option(
        "mutants",
        "",
        "off",
        "Judge each checkpoint undamaged, then under each mutant, to show that claims can fail. "
        "No test fails by its verdict; the matrix decides. The profile is then mutants.",
    ),
    Option(
        "mutants-only",
        "NAMES",
        "all of them",
        "Mutants that --claims-mutants tries, separated by commas and written with hyphens; "
        "implies it.",
    ),
    Option(
        "survivors",
        "FILE.json",
        "none",
        "Claims and mutants that --claims-mutants may leave standing, with the reasons.",
    ),
    Option(
        "layers",
        "LIST",
        "the profile's depths",
        "Depths to judge, separated by commas: with a decimal point a relative depth from 0.0 "
        "(first block) to 1.0 (last block), without one a block number, as in 0.1,0.5 or 3,15.",
    ),
    Option(
        "device",
        "DEVICE",
        "cpu",
        "Torch device, as in cuda or cuda:1; auto is a CUDA device if there is one, else the CPU.",
    ),
    Option(
        "device-map",
        "MAP",
        "off, one device",
        "Spread a model that is too large for one GPU over all that are seen, by accelerate's "
        "name: balanced, balanced_low_0, sequential or auto.",
    ),
    Option(
        "dtype", "DTYPE", "float32", "Torch dtype of the weights; float32 is the reference regime."
    ),
    Option("attention", "KERNEL", "eager", "Attention kernel by transformers' name, as in sdpa."),
    Option(
        "remote",
        "HOST|ndif",
        "off, passes run here",
        "Send the passes of ORG/NAME@REVISION to NDIF, or to a host that the ini key "
        "claims_remote_hosts names. A host is trusted: its answers can run code here.",
    ),
    Option(
        "corpus",
        "PATH",
        "the built-in corpus",
        "Your own text: a .jsonl file, a .txt file or a folder of .txt files.",
    ),
    Option(
        "tasks",
        "FOLDER",
        "the built-in tasks",
        "Your own in-context tasks: a folder of .json files, one a task, each a list such as "
        '[{"input": "hot", "output": "cold"}].',
    ),
    Option(
        "cache",
        "DIR",
        "$STILLWIRED_CACHE, else the user's cache folder",
        "Where models, text and measurements are kept between runs.",
    ),
    Option(
        "record",
        "FILE.json",
        ".stillwired/records/<time>-<model>/record.json",
        "Where the record is written; its outcomes go beside it.",
    ),
    Option(
        "report",
        "FILE.html",
        "none",
        "Write one self-contained page: verdicts, every claim with its figures, and the curves.",
    ),
    Option(
        "strict",
        "",
        "off",
        "An INCONCLUSIVE primary cell fails the run too.",
    ),
    Option(
        "expected",
        "FILE.json",
        "none",
        "Verdicts that are known and accepted; any other verdict fails the run, a better one too.",
    ),
    Option(
        "baseline",
        "RECORD.json",
        "none",
        "Compare with this record or baseline: what held before decides the exit code.",
    ),
    Option(
        "shard",
        "I/N",
        "off, all claims",
        "Judge one part of the claims, as in 2/4. A shard does not gate: `stillwired merge` puts "
        "the records of all of them together, and gates.",
    ),
    Option(
        "seed",
        "INT",
        "0",
        "Seed of every draw of data; the same seed gives the same examples to every checkpoint.",
    ),
    Option(
        "redraw",
        "LABEL",
        "none",
        "Judge again what a run has judged, with the same fits on other data (seed-1, documents-1, "
        "batches-1), or with other fits on the same data (refit-1); docs/calibration.md.",
    ),
)

INI_ONLY: dict[str, str] = {
    "remote_hosts": "Hosts besides NDIF's own that --claims-remote may name, as in "
    "https://ndif.example.org. Their answers can run code here: name only servers that you trust.",
}
"""Lists that stand in the ini file alone, and their help: ``claims_<name>``."""

NDIF = "https://api.ndif.us"


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
    """

    settings: Settings
    record: Path | None = None
    report: Path | None = None
    expected: Path | None = None
    baseline: Path | None = None
    shard: Shard | None = None
    mutants: bool = False
    survivors: Path | None = None


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
    expected = path("expected")
    if expected is not None and not expected.is_file():
        raise UsageError(
            f"--claims-expected: there is no file {expected}. "
            "Give a JSON file of expected verdicts, or leave the option out."
        )
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
    survivors = path("survivors")
    if survivors is not None and not survivors.is_file():
        raise UsageError(
            f"--claims-survivors: there is no file {survivors}. "
            "Give a JSON file of known survivors, or leave the option out."
        )
    trusted = given["remote_hosts"].value if "remote_hosts" in given else ()
    models = _models(given["model"].value) if "model" in given else (DEFAULT_MODEL,)
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
        remote=_remote(text("remote", ""), trusted),
        seed=_seed(text("seed", "0")),
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
    )


def parse_layers(text: str) -> tuple[float | int, ...]:
    """Read ``--claims-layers``: floats are relative depths, integers are block numbers.

    Whether a block exists is only known once the model is (see :func:`check_layers`).

    Raises:
        UsageError: If an entry is neither, lies outside [0, 1], or comes twice.
    """
    layers: list[float | int] = []
    for entry in (part.strip() for part in text.split(",")):
        layer = _layer(entry)
        if any(type(layer) is type(other) and layer == other for other in layers):
            raise UsageError(f"--claims-layers: {entry} is given twice. List each depth once.")
        layers.append(layer)
    return tuple(layers)


def _layer(entry: str) -> float | int:
    try:
        layer: float | int = float(entry) if "." in entry else int(entry)
    except ValueError:
        raise UsageError(
            f"--claims-layers: {entry!r} is no depth. "
            "Write relative depths as in 0.1,0.5 or block numbers as in 3,15."
        ) from None
    if isinstance(layer, float) and not (math.isfinite(layer) and 0.0 <= layer <= 1.0):
        raise UsageError(
            f"--claims-layers: {entry} is outside 0.0 to 1.0. "
            "With a decimal point an entry is a relative depth; leave the point out for a block."
        )
    if layer < 0:
        raise UsageError(
            f"--claims-layers: {entry} is negative. Blocks are counted from 0, the first one."
        )
    return layer


def check_layers(layers: Sequence[float | int], model: str, blocks: int) -> None:
    """Check block numbers against a model with that many blocks.

    Raises:
        UsageError: If the model has no such block.
    """
    for layer in layers:
        if isinstance(layer, int) and layer >= blocks:
            raise UsageError(
                f"--claims-layers: block {layer} does not exist; {model} has blocks 0 to "
                f"{blocks - 1}. Name one of those, or a relative depth as in 0.5."
            )


def depth_id(depth: float | int) -> str:
    """Return the part of a test's id that stands for a depth: ``depth0.50`` or ``block15``."""
    if isinstance(depth, int):
        return f"block{depth}"
    text = f"{depth:.2f}"
    return f"depth{text if float(text) == depth else repr(depth)}"


def model_ids(specs: Sequence[str]) -> list[str]:
    """Return a short name per checkpoint spec, unique within the run.

    A registered name stays as it is; of a path or a hub id the last part is kept.
    """
    names: list[str] = []
    for spec in specs:
        short = spec.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
        short = short.removesuffix(".gguf").replace(f".gguf{MARK}", MARK)
        name, k = short or "model", 2
        while name in names:
            name, k = f"{short}-{k}", k + 1
        names.append(name)
    return names


def _models(value: Any) -> tuple[str, ...]:
    specs = tuple(_with_slug(*split_spec(str(spec).strip())) for spec in value)
    for k, spec in enumerate(specs):
        if not spec:
            raise UsageError("--claims-model is empty. Name a checkpoint, or leave the option out.")
        if spec in specs[:k]:
            raise UsageError(f"--claims-model: {spec} is given twice. Name each checkpoint once.")
    return specs


def _with_slug(sound: str, mutant: Mutant | None) -> str:
    """Write a spec's mutant in the one way in which specs, tests and files have it."""
    return sound if mutant is None else f"{sound}{MARK}{mutant.slug}"


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
    return with_mutants(models, [mutant_named(name) for name in names] or MUTANTS)


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


def _remote(text: str, trusted: Sequence[str] = ()) -> str:
    """Return the host that passes are sent to, with its scheme; empty for this machine."""
    if not text:
        return ""
    known = [NDIF, *(_host(str(entry), "claims_remote_hosts") for entry in trusted)]
    host = NDIF if text.lower() == "ndif" else _host(text, "--claims-remote")
    if host not in known:
        raise UsageError(
            f"--claims-remote: {host} is not among the hosts that are trusted: "
            f"{', '.join(known)}. What a host answers can run code on this machine, so a host of "
            "your own has to be named under claims_remote_hosts in the ini file first."
        )
    return host


def _host(text: str, what: str) -> str:
    """Write a host in the one way in which hosts are compared."""
    whole = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(whole)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        parts, port = urlsplit(""), ""
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in whole
    if parts.scheme not in ("http", "https") or not parts.hostname or not bare:
        raise UsageError(
            f"{what}: {text!r} is no host. Write ndif, or a host as in https://ndif.example.org."
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}{port}"


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if seed < 0:
        raise UsageError(f"--claims-seed: {text!r} is no seed. Give a whole number from 0 on.")
    return seed
