"""Every option: its name, its place in the help, and the default as a user would type it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from stillwired.profiles import PROFILES
from stillwired.settings import DEFAULT_MODEL


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
        "Judge each checkpoint undamaged, then under mutants, to show that claims can fail. "
        "No test fails by its verdict; the matrix decides. Unless another is named, the profile is "
        "then mutants.",
    ),
    Option(
        "mutants-only",
        "NAMES",
        "all but those that are much like another",
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
        "outline",
        "FILE.json",
        "none",
        "Write what is going to be judged, by which code; with --collect-only nothing is judged.",
    ),
    Option(
        "strict",
        "",
        "off",
        "An INCONCLUSIVE primary cell fails the run too, and with a baseline an UNDECIDED change.",
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
