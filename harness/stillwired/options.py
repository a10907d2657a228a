"""The command-line options of a run: what they are called, what they mean, how they are read.

Plain data and plain functions. The plugin turns :data:`OPTIONS` into pytest options and ini
keys, hands the collected values back to :func:`parse`, and gets a :class:`RunOptions`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stillwired.errors import UsageError
from stillwired.profiles import PROFILES, profile_named
from stillwired.settings import DEFAULT_MODEL, Settings


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
        return f"claims_{self.name}"

    @property
    def help_line(self) -> str:
        """Help text with the default and the ini key."""
        return f"{self.help} Default: {self.default}. Ini key: {self.key}."


OPTIONS: tuple[Option, ...] = (
    Option(
        "model",
        "SPEC",
        DEFAULT_MODEL,
        "Checkpoint to judge: a registered name (`stillwired models` lists them), "
        "ORG/NAME@REVISION, a local folder or a .gguf file. Repeat it for several checkpoints.",
        repeatable=True,
    ),
    Option(
        "profile",
        "NAME",
        "quick",
        f"How much is measured: {', '.join(PROFILES)}.",
    ),
    Option(
        "layers",
        "LIST",
        "the profile's depths",
        "Depths to judge, separated by commas: with a decimal point a relative depth from 0.0 "
        "(first block) to 1.0 (last block), without one a block number, as in 0.1,0.5 or 3,15.",
    ),
    Option("device", "DEVICE", "cpu", "Torch device, as in cuda or cuda:1."),
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
        "seed",
        "INT",
        "0",
        "Seed of every draw of data; the same seed gives the same examples to every checkpoint.",
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


@dataclass(frozen=True)
class RunOptions:
    """Every option of one run, parsed.

    Attributes:
        settings: What the measurement depends on.
        record: Where the record goes, or None for a folder of its own.
        expected: The file of expected verdicts, or None.
    """

    settings: Settings
    record: Path | None = None
    expected: Path | None = None


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
    record = path("record")
    if record is not None and record.suffix != ".json":
        raise UsageError(
            f"--claims-record: {record} does not end in .json. "
            "Name the JSON file; the outcomes are written beside it."
        )
    trusted = given["remote_hosts"].value if "remote_hosts" in given else ()
    settings = Settings(
        models=_models(given["model"].value) if "model" in given else (DEFAULT_MODEL,),
        profile=profile_named(text("profile", "quick")),
        layers=parse_layers(text("layers", "")) if "layers" in given else (),
        device=text("device", "cpu"),
        dtype=text("dtype", "float32").removeprefix("torch."),
        attention=text("attention", "eager"),
        corpus=corpus,
        tasks=tasks,
        cache=path("cache"),
        remote=_remote(text("remote", ""), trusted),
        seed=_seed(text("seed", "0")),
        strict=bool(given["strict"].value) if "strict" in given else False,
    )
    return RunOptions(settings=settings, record=record, expected=expected)


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
        short = spec.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".gguf")
        name, k = short or "model", 2
        while name in names:
            name, k = f"{short}-{k}", k + 1
        names.append(name)
    return names


def _models(value: Any) -> tuple[str, ...]:
    specs = tuple(str(spec).strip() for spec in value)
    for k, spec in enumerate(specs):
        if not spec:
            raise UsageError("--claims-model is empty. Name a checkpoint, or leave the option out.")
        if spec in specs[:k]:
            raise UsageError(f"--claims-model: {spec} is given twice. Name each checkpoint once.")
    return specs


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
