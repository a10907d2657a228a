"""``stillwired calibrate``: judge one checkpoint again and again, and count the false alarms."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.commands.common import ERROR, FAILED, OK, Commands, page, say, show, with_cache
from stillwired.profiles import PROFILES
from stillwired.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from stillwired.records.calibration import Planned
    from stillwired.records.record import Record

Json = dict[str, Any]

FOLDER = Path(".stillwired", "calibration")
REDRAWS, REFITS, PROFILE = 20, 3, "mutants"

_MORE = (
    "The claims are judged once as usual and then again where nothing that matters has changed: on "
    "other examples, in other batches, in another dtype or attention kernel, with other fits. Each "
    "run is a pytest of its own; those whose record is there already are not run again, unless "
    "code, claims, weights or libraries have changed, so that a calibration that was broken off "
    "goes on. The exit code is 1 if a claim that holds comes out as FAILS or BROKEN, or if surely "
    "more than 1 % of the comparisons of claims that hold come out as LOST. "
    "docs/calibration.md says how to read the report."
)
# Whatever the ini file says: a redraw is no run of record.
_PLAIN = ("-o", "claims_expected=", "-o", "claims_baseline=", "-p", "no:cacheprovider")


def add(commands: Commands) -> None:
    """Add the command and its options."""
    from stillwired.records.calibration import KINDS

    kinds = [name for name in KINDS if name != "refit"]
    calibrate = commands.add("calibrate", run, "count the false alarms of redraws", _MORE)
    option = calibrate.add_argument
    option(
        "pytest",
        nargs="*",
        default=["claims/"],
        metavar="CLAIMS",
        help="folders of claims; with -- in front also options of pytest (default: claims/)",
    )
    option("--model", default=DEFAULT_MODEL, metavar="SPEC", help="as --claims-model")
    option(
        "--profile",
        default=PROFILE,
        choices=PROFILES,
        help=f"as --claims-profile (default: {PROFILE}, the smallest)",
    )
    option("--redraws", type=int, default=REDRAWS, metavar="N", help=f"of each kind ({REDRAWS})")
    option(
        "--kinds",
        default=",".join(kinds),
        metavar="LIST",
        help=f"kinds of redraws, separated by commas (default: {','.join(kinds)})",
    )
    option(
        "--refits", type=int, default=REFITS, metavar="N", help=f"runs with other fits ({REFITS})"
    )
    option(
        "--out",
        type=Path,
        metavar="FOLDER",
        help=f"where records and the report go (default: {FOLDER}/<model>-<profile>)",
    )
    option(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="runs at a time, once the reference is done: each has a model of its own in memory "
        "and its share of the processor's threads (1)",
    )
    with_cache(calibrate)


def run(arguments: argparse.Namespace) -> int:
    """Do the runs that are left, and report on all of them."""
    from stillwired.errors import UsageError
    from stillwired.options import model_ids
    from stillwired.records.alarms import count_alarms
    from stillwired.records.calibration import plan
    from stillwired.report.calibration import Calibration, calibration_lines, write_reports

    kinds = [name.strip() for name in arguments.kinds.split(",") if name.strip()]
    runs = plan(kinds, arguments.redraws, arguments.refits)
    if arguments.jobs < 1:
        raise UsageError(f"There are no {arguments.jobs} runs at a time. Give --jobs 1 or more.")
    (name,) = model_ids([arguments.model])
    out = (arguments.out or FOLDER / f"{name}-{arguments.profile}").expanduser()
    records, failed = _Runs(arguments, out).do(runs)
    done = [one for one in runs[1:] if {one.name, one.against} <= records.keys()]
    say(f"comparing {len(done)} runs with what they are held against")
    alarms = count_alarms(records, done, arguments.jobs)
    calibration = Calibration(records[runs[0].name], records, failed, alarms)
    show(calibration_lines(calibration, write_reports(calibration, out), page()))
    if alarms.complaints:
        return FAILED
    return ERROR if failed else OK


class _Runs:
    """The runs of one calibration, each in a process of its own, whose memory ends with it."""

    def __init__(self, arguments: argparse.Namespace, out: Path) -> None:
        from stillwired.records.run import environment

        self._arguments, self._out = arguments, out
        self._environment = dict(os.environ)
        if arguments.jobs > 1:
            # The reference as well: another number of threads is another environment.
            share = max(1, environment()["threads"] // arguments.jobs)
            self._environment.setdefault("OMP_NUM_THREADS", str(share))

    def do(self, runs: Sequence[Planned]) -> tuple[dict[str, Record], dict[str, str]]:
        """Do what is not done yet; return records by name, and why there is none of the others.

        Raises:
            RecordError: If the reference leaves no record, or a file is of another calibration.
        """
        from stillwired.errors import RecordError
        from stillwired.records.calibration import keep_asked

        given = self._arguments
        say(f"{len(runs)} runs of {given.model}, profile {given.profile}; records in {self._out}")
        keep_asked(self._out, given.pytest)
        outline = self._ask()
        reference = runs[0]
        records = self._done(runs, outline)
        first = records.get(reference.name)
        todo = [one for one in runs if one.name not in records]
        if records:
            say(f"{len(records)} of them are done already")
        failed: dict[str, str] = {}
        took: dict[str, list[float]] = {}
        for one, said, seconds in self._each(todo, took):
            found, changed = self._find(one, outline, first)
            why = said
            if changed:
                why = f"{changed} changed after the calibration began; start it again"
            if found is None and not one.kind:
                raise RecordError(f"The reference left no record that can be used: {why}.")
            if found is None:
                failed[one.name] = why
                say(f"{one.name} left no record that can be used: {why}")
                continue
            first = first or found
            records[one.name] = found
            took.setdefault(one.kind, []).append(seconds)
        return records, failed

    def _each(
        self, todo: Sequence[Planned], took: Mapping[str, Sequence[float]]
    ) -> Iterator[tuple[Planned, str, float]]:
        """Do runs, some at a time; yield each as it ends, what it said and the seconds it took.

        The reference is done before any other, since they take their fits from it.
        """
        from stillwired.records.calibration import time_left
        from stillwired.report.text import duration

        jobs = self._arguments.jobs

        def timed(number: int) -> tuple[Planned, str, float]:
            run = todo[number]
            left = time_left(todo[number:], took)
            about = "" if left is None else f", about {duration(left / jobs)} left"
            say(f"{number + 1} of {len(todo)}: {run.name}{about}")
            started = time.monotonic()
            return run, self._run(run), time.monotonic() - started

        alone = sum(not one.kind for one in todo)
        yield from map(timed, range(alone))
        with ThreadPoolExecutor(jobs) as pool:
            runs = [pool.submit(timed, number) for number in range(alone, len(todo))]
            try:
                yield from (ended.result() for ended in as_completed(runs))
            finally:
                # Broken off: what has not begun never does.
                pool.shutdown(cancel_futures=True)

    def _done(self, runs: Sequence[Planned], outline: Json) -> dict[str, Record]:
        """Return what is done already, by name; say what has to be done again, and why."""
        reference, *others = runs
        first, changed = self._find(reference, outline, None)
        found = {one.name: self._find(one, outline, first) for one in others}
        if first is None:
            if changed:
                say(f"everything is done again, since this has changed: {changed}")
            # Without the reference that they were held against, what is there proves nothing.
            return {}
        for name, (_, why) in found.items():
            if why:
                say(f"{name} is done again, since this has changed: {why}")
        done = {name: record for name, (record, _) in found.items() if record is not None}
        return {reference.name: first, **done}

    def _find(
        self, run: Planned, outline: Json, reference: Record | None
    ) -> tuple[Record | None, str]:
        """Return a run's record if it counts; if there is one that does not, say what changed."""
        from stillwired.records.calibration import find_record, stale

        given = self._arguments
        record = find_record(self._out, run, model=given.model, profile=given.profile)
        why = stale(record, outline, reference) if record is not None else ""
        return (None if why else record), why

    def _ask(self) -> Json:
        """Let pytest say what it would judge now, in a process of its own.

        Raises:
            RecordError: If it does not.
        """
        from stillwired.errors import RecordError
        from stillwired.records.calibration import OUTLINE
        from stillwired.records.outline import read_outline

        outline = self._out / OUTLINE
        outline.unlink(missing_ok=True)
        said = self._pytest("outline", ["--collect-only", "-q", "--claims-outline", str(outline)])
        if not outline.exists():
            raise RecordError(f"There is nothing that could be judged: {said}.")
        return read_outline(outline)

    def _run(self, run: Planned) -> str:
        """Run one; return what its log says last, and where that lies.

        Verdicts decide nothing here: a run that ends with 1 has a record as any other.
        """
        from stillwired.records.calibration import place

        record = place(self._out, run)
        for left_behind in record.parent.glob(f"{record.stem}.run*"):
            shutil.rmtree(left_behind)
        # One that does not count any more is not to be taken for what the run leaves.
        record.unlink(missing_ok=True)
        return self._pytest(run.name, ["--claims-record", str(record), *run.options()])

    def _pytest(self, name: str, options: Sequence[str]) -> str:
        """Run pytest with what all runs have in common and these options; return what it says."""
        from stillwired.records.calibration import LOGS

        given, log = self._arguments, self._out / LOGS / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pytest", *given.pytest, *_PLAIN]
        command += ["--claims-model", given.model, "--claims-profile", given.profile]
        command += ["--claims-seed", "0", *options]
        command += ["--claims-cache", str(given.cache)] if given.cache else []
        with log.open("w", encoding="utf-8") as file:
            code = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, check=False, env=self._environment
            ).returncode
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = said[-1].strip() if said else "it said nothing"
        return f"pytest ended with {code}: {last} ({log})"
