"""Kill a run of claims at random moments, again and again, and see what the next one makes of it.

Each time a run starts with nothing but the fetched model and text in its cache, is killed (SIGKILL)
at a moment drawn evenly over the length of an undisturbed run, and is started again. Told are when
it was killed, how much of the cache was there by then, what the next run had to make, and whether
its record is the undisturbed one, digest by digest. Anything that was whole and is made again, any
file left behind and any other digest is a failure.

    python benchmarks/kill_runs.py kills.json
    python benchmarks/kill_runs.py kills.json --times 3 --profile quick claims/logit_lens

What stands behind ``--`` is passed on to pytest. The machine's cache is linked from, never written.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from stillwired.records.record import read_record
from stillwired.settings import DEFAULT_MODEL
from stillwired.store.cache import Store

ROOT = Path(__file__).parent.parent
CLAIMS = ("claims/logit_lens", "claims/future_lens/test_bigram_floor.py")
FETCHED = ("wheel", "checkpoint", "folder-digest", "corpus")


@dataclass(frozen=True)
class Kill:
    """One run that was killed, and the one after it.

    Attributes:
        after: Seconds from the start of the run to its end.
        kept: Entries of the cache that it had finished, by kind, fetched ones apart.
        made: Entries that the next run made, by kind.
        seconds: How long the next run took.
        same: Whether its record's digest is the undisturbed one's.
        made_again: Entries that were whole, and were made again all the same.
        left: Files that are neither cache nor record, after the next run.
    """

    after: float
    kept: dict[str, int]
    made: dict[str, int]
    seconds: float
    same: bool
    made_again: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, repeated or left."""
        return self.same and not self.made_again and not self.left


class Runs:
    """Runs of the same claims, each in a folder of its own.

    Args:
        place: Where the folders go; on the cache's disk, since entries are linked.
        fetched: The cache that holds model and text.
        arguments: For pytest.
    """

    def __init__(self, place: Path, fetched: Path, arguments: Sequence[str]) -> None:
        self.place, self.fetched, self.arguments = place, fetched, arguments

    def folder(self, name: str) -> Path:
        """Return a new folder whose cache holds what was fetched, as links to the same files."""
        folder = self.place / name
        for kind in FETCHED:
            if (self.fetched / kind).is_dir():
                linked = folder / "cache" / kind
                shutil.copytree(self.fetched / kind, linked, copy_function=os.link)
        return folder

    def start(self, folder: Path) -> subprocess.Popen[str]:
        """Start a run."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", *self.arguments, "-p", "no:cacheprovider"),
                *("--claims-cache", str(folder / "cache")),
                *("--claims-record", str(folder / "out" / "record.json")),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, folder: Path) -> tuple[str, float]:
        """Run to the end; return the record's digest, and the seconds that it took."""
        began = time.monotonic()
        process = self.start(folder)
        output, _ = process.communicate()
        if not (folder / "out" / "record.json").exists():
            raise SystemExit(f"A run has left no record:\n{output}")
        digest = str(read_record(folder / "out" / "record.json").data["digest"])
        return digest, time.monotonic() - began


def entries_of(folder: Path) -> dict[str, tuple[int, str]]:
    """Every sound entry, fetched ones apart, with what changes when it is made again."""
    store = Store(folder / "cache")
    return {
        f"{entry.kind}/{entry.path.name}": (entry.path.stat().st_ino, entry.created)
        for entry, sound, _ in store.verify()
        if sound and entry.kind not in FETCHED
    }


def left_in(folder: Path) -> list[str]:
    """Files that a finished run should not have left: unfinished entries, cells, half records."""
    scratch = [path for path in (folder / "cache" / "tmp").rglob("*") if path.name != "sweep.lock"]
    kept = (".json", ".parquet", ".svg")
    out = [path for path in (folder / "out").iterdir() if path.suffix not in kept]
    out += [path for path in (folder / "out").iterdir() if path.name.startswith(".")]
    return [str(path.relative_to(folder)) for path in (*scratch, *out)]


def kill(runs: Runs, folder: Path, after: float, wanted: str) -> Kill | None:
    """Kill one run and let the next one finish; None if the run was over before it was killed."""
    began = time.monotonic()
    process = runs.start(folder)
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    after = time.monotonic() - began
    if process.returncode != -signal.SIGKILL:
        return None
    before = entries_of(folder)
    digest, seconds = runs.finish(folder)
    found = entries_of(folder)
    return Kill(
        after=round(after, 2),
        kept=_by_kind(before),
        made=_by_kind(found.keys() - before.keys()),
        seconds=round(seconds, 2),
        same=digest == wanted,
        made_again=sorted(name for name, facts in before.items() if found.get(name) != facts),
        left=left_in(folder),
    )


def _by_kind(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(name.partition("/")[0] for name in names).items()))


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.items()) or "-"


def main() -> int:
    """Kill and tell; 1 if anything was lost, repeated or left."""
    about = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    about.add_argument("out", type=Path, metavar="FILE.json")
    about.add_argument("claims", nargs="*", default=CLAIMS, help="what pytest collects")
    about.add_argument("--times", type=int, default=30)
    about.add_argument("--seed", type=int, default=0, help="of the moments")
    about.add_argument("--model", default=DEFAULT_MODEL)
    about.add_argument("--profile", default="mutants")
    about.add_argument("--layers", default="0.5,1.0", help="depths; more take longer")
    about.add_argument("--cache", type=Path, default=Store.default_root(), help="with model, text")
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    asked = about.parse_args(given[:cut])
    arguments = [
        *asked.claims,
        *("--claims-model", asked.model),
        *("--claims-profile", asked.profile),
        *("--claims-layers", asked.layers),
    ]
    draw = random.Random(asked.seed)
    asked.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kill-runs-", dir=asked.cache.parent) as place:
        runs = Runs(Path(place), asked.cache, [*arguments, *given[cut + 1 :]])
        wanted, length = runs.finish(runs.folder("undisturbed"))
        print(f"undisturbed: {length:.1f} s, record {wanted[:16]}…", flush=True)
        print(f"{'killed':>8}  {'next':>8}  record  was there; made by the next run")
        kills: list[Kill] = []
        while len(kills) < asked.times:
            folder = runs.folder(f"kill-{len(kills)}")
            found = kill(runs, folder, draw.uniform(0, length), wanted)
            shutil.rmtree(folder)
            if found is None:
                continue
            kills.append(found)
            word = "same" if found.same else "OTHER"
            print(
                f"{found.after:6.1f} s  {found.seconds:6.1f} s  {word:<6}  {_told(found.kept)}; "
                f"{_told(found.made)}",
                *(f"\n  made again: {name}" for name in found.made_again),
                *(f"\n  left: {name}" for name in found.left),
                flush=True,
            )
            # After every one, so that a long measurement that is stopped has not been in vain.
            page = {
                "arguments": [*arguments, *given[cut + 1 :]],
                "seed": asked.seed,
                "undisturbed": {"seconds": round(length, 2), "record": wanted},
                "kills": [asdict(one) for one in kills],
            }
            asked.out.write_text(json.dumps(page, indent=1) + "\n")
    failed = sum(not one.passed for one in kills)
    print(f"{len(kills)} killed, {failed} of them with something lost, made again or left")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
