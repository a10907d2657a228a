"""A calibration as a page of Markdown, as data, and as a few lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.records.alarms import CHANGES, TOLERATED, VERDICTS, Alarms, Case, Rate, Tally
from stillwired.records.calibration import KINDS
from stillwired.records.files import write_json, write_whole
from stillwired.report.text import duration, path, where

if TYPE_CHECKING:
    from stillwired.records.record import Record
    from stillwired.report.summary import Page
    from stillwired.report.terminal import Line

Json = dict[str, Any]

SCHEMA = 1
_SHOWN = ("FAILS", "INCONCLUSIVE", "LOST", "UNDECIDED", "GAINED")
_HOW = """\
A claim-run is one cell of one run that is held against the same cell of another run, where it
holds: seed, documents and refit runs against the reference, the others against the seed run of
their number, which judges the same examples. Cells that have nothing new to judge under another
seed or in other documents are left out and counted apart. LOST, UNDECIDED and GAINED are what
`stillwired diff` says. *Alone* is Clopper and Pearson's 95 % interval as if every claim-run stood
alone, which is too sure: runs of one draw judge the same examples, and runs of one cell share a
reference. *Clustered* is the widest of that one and of the intervals with draws and with cells as
clusters; where nothing occurs at all it counts draws or cells, and not claim-runs."""


@dataclass(frozen=True)
class Calibration:
    """What a calibration found, and from what.

    Attributes:
        reference: Record of the reference.
        records: Every record by name of its run, the reference included.
        failed: Runs that left no record, with the reasons.
        alarms: What they came to.
    """

    reference: Record
    records: Mapping[str, Record]
    failed: Mapping[str, str]
    alarms: Alarms


def found(calibration: Calibration) -> str:
    """Say in a sentence or two what was found."""
    alarms = calibration.alarms
    rates = alarms.pooled.rates
    if alarms.complaints:
        return f"False alarms: {'; '.join(alarms.complaints)}."
    trials = rates["LOST"].trials
    if not trials:
        return "Nothing was found out: no claim-run that held was judged on anything new."
    return (
        f"No claim that held came out as FAILS or BROKEN in {trials:,} claim-runs, and the "
        f"comparison called {_of(rates['LOST'])} LOST."
    )


def write_reports(calibration: Calibration, folder: Path) -> tuple[Path, Path]:
    """Write ``report.md`` and ``report.json``, and return where they lie.

    Raises:
        RecordError: If the folder cannot be written.
    """
    text, data = folder / "report.md", folder / "report.json"
    content = markdown(calibration)
    write_whole(text, lambda file: _write(file, content))
    write_json(data, as_data(calibration), indent=1)
    return text, data


def _write(file: Path, content: str) -> None:
    file.write_text(content, encoding="utf-8")


# For the terminal


def calibration_lines(calibration: Calibration, files: Sequence[Path], page: Page) -> list[Line]:
    """Return a line for each kind, what was found, and where the reports lie."""
    alarms = calibration.alarms
    titles = ["", "runs", "claim-runs", *_SHOWN]
    rows = [
        [
            kind,
            str(alarms.runs[kind]),
            f"{len(tally.cases):,}",
            *(str(tally.rates[word].hits) for word in _SHOWN),
        ]
        for kind, tally in alarms.tallies.items()
    ]
    widths = [max(len(row[k]) for row in [titles, *rows]) for k in range(len(titles))]
    lines = []
    for row in [titles, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [text.rjust(size) for text, size in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells))
    failed = [f"{name} could not be run: {why}" for name, why in calibration.failed.items()]
    places = "  ".join(path(file, page.start) for file in files)
    return page.plain([*lines, *failed, found(calibration), f"report: {places}"])


# As a page


def markdown(calibration: Calibration) -> str:
    """Return the whole report."""
    data, alarms = calibration.reference.data, calibration.alarms
    checkpoint = data["checkpoint"]
    regime = " ".join(checkpoint.get("regime", {}).values())
    seconds = sum(record.data["times"]["seconds"] for record in calibration.records.values())
    blocks = [
        f"# False alarms: {checkpoint.get('name') or 'no checkpoint'}, profile {data['profile']}",
        f"**{found(calibration)}**",
        f"sha256 {str(checkpoint.get('digest', ''))[:16]}…, {regime}, seed {data['seed']}, "
        f"{len(calibration.records)} runs, {duration(seconds)} in all. At most {TOLERATED:.0%} of "
        "the claim-runs may be called LOST, and none may come out as FAILS or BROKEN.",
        "## All kinds",
        _rates_table(alarms.pooled),
        _HOW,
        "## By kind",
        _kinds_table(alarms),
    ]
    if alarms.flipped:
        blocks += ["## What flipped", _flips_table(alarms.flipped)]
    for kind, tally in alarms.tallies.items():
        if tally.cases:
            blocks += [f"## {kind}: {KINDS[kind].says}", _claims_table(tally)]
    blocks += _notes(calibration)
    return "\n\n".join(blocks) + "\n"


def _rates_table(tally: Tally) -> str:
    rows = [
        [
            f"HOLDS → {word}" if word in VERDICTS else word,
            _of(rate),
            _percent(rate.share),
            _between(rate.exact),
            _between(rate.clustered),
        ]
        for word, rate in tally.rates.items()
    ]
    return _table(["", "claim-runs", "share", "alone", "clustered"], rows)


def _kinds_table(alarms: Alarms) -> str:
    rows = []
    for kind, tally in alarms.tallies.items():
        rates = tally.rates
        against = KINDS[kind].against
        rows.append(
            [
                kind,
                KINDS[kind].says,
                f"the {against}" if against == "reference" else f"the {against} run",
                str(alarms.runs[kind]),
                f"{len(tally.cases):,}",
                f"{tally.stale:,}",
                *(_with_interval(rates[word]) for word in ("FAILS", "LOST")),
                *(str(rates[word].hits) for word in ("INCONCLUSIVE", "UNDECIDED", "GAINED")),
                f"{alarms.blocked[kind]} of {alarms.runs[kind]}",
            ]
        )
    titles = ["kind", "what is different", "held against", "runs", "claim-runs", "nothing new"]
    titles += ["FAILS", "LOST", "INCONCLUSIVE", "UNDECIDED", "GAINED", "runs stopped by a gate"]
    return _table(titles, rows)


def _claims_table(tally: Tally) -> str:
    rows = [
        [claim, str(len(own.cases)), *(str(rate.hits) for rate in own.rates.values())]
        for claim, own in tally.by_claim().items()
    ]
    return _table(["claim", "claim-runs", *VERDICTS, *CHANGES], rows)


def _flips_table(cases: Iterable[Case]) -> str:
    rows = []
    for case in cases:
        part = case.change.decided
        change = "" if part is None else _figures(part.estimate, part.low, part.high)
        allowed = "" if part is None else part.allowed
        rows.append(
            [
                _cell(case),
                case.run.name,
                f"HOLDS {_verdict(case.then)}",
                f"{case.now} {_verdict(case.figures)}",
                change,
                allowed,
                case.word,
            ]
        )
    titles = ["cell", "run", "then", "now", "change", "allowed", "comparison"]
    return _table(titles, rows)


def _notes(calibration: Calibration) -> list[str]:
    alarms, blocks = calibration.alarms, []
    listed = (
        ("Runs that left no record", [f"{n}: {why}" for n, why in calibration.failed.items()]),
        ("Cells that were not judged", _grouped(alarms.missing)),
        ("Cells that could not be compared", _grouped(alarms.uncompared)),
    )
    for title, entries in listed:
        if entries:
            blocks += [f"## {title}", "\n".join(f"- {entry}" for entry in entries)]
    return blocks


def _grouped(by_run: Mapping[str, Sequence[str]]) -> list[str]:
    """Turn what each run says into a line for each thing that is said, with its runs."""
    runs: dict[str, list[str]] = {}
    for run, entries in by_run.items():
        for entry in entries:
            runs.setdefault(entry, []).append(run)
    return [f"{entry} ({', '.join(names)})" for entry, names in runs.items()]


# As data


def as_data(calibration: Calibration) -> Json:
    """Return everything that the page says, and every claim-run that flipped, as plain data."""
    data, alarms = calibration.reference.data, calibration.alarms
    return {
        "schema": SCHEMA,
        "checkpoint": data["checkpoint"],
        "environment": data["environment"],
        "profile": data["profile"],
        "seed": data["seed"],
        "found": found(calibration),
        "passed": not alarms.complaints and not calibration.failed,
        "runs": {
            name: {"digest": r.data["digest"], "seconds": r.data["times"]["seconds"]}
            for name, r in calibration.records.items()
        },
        "failed": dict(calibration.failed),
        "pooled": _tally(alarms.pooled),
        "kinds": {
            kind: {
                "says": KINDS[kind].says,
                "against": KINDS[kind].against,
                "runs": alarms.runs[kind],
                "stopped": alarms.blocked[kind],
                **_tally(tally),
                "claims": {claim: _tally(own) for claim, own in tally.by_claim().items()},
            }
            for kind, tally in alarms.tallies.items()
        },
        "flipped": [_flip(case) for case in alarms.flipped],
        "missing": {name: list(keys) for name, keys in alarms.missing.items()},
        "uncompared": {name: list(keys) for name, keys in alarms.uncompared.items()},
    }


def _tally(tally: Tally) -> Json:
    return {
        "claim_runs": len(tally.cases),
        "nothing_new": tally.stale,
        "rates": {
            word: {
                "count": rate.hits,
                "share": rate.share,
                "alone": list(rate.exact),
                "clustered": list(rate.clustered),
            }
            for word, rate in tally.rates.items()
        },
    }


def _flip(case: Case) -> Json:
    part = case.change.decided
    figures = ("verdict", "estimate", "low", "high")
    return {
        "run": case.run.name,
        "against": case.run.against,
        "claim": case.change.claim,
        "params": dict(case.change.params),
        "then": {name: case.then[name] for name in figures},
        "now": {name: case.figures[name] for name in figures},
        "comparison": case.word,
        "change": None
        if part is None
        else {"estimate": part.estimate, "low": part.low, "high": part.high},
        "reason": case.change.reason,
    }


# Words and figures


def _cell(case: Case) -> str:
    params = f" ({where(case.change.params)})" if case.change.params else ""
    return case.change.claim + params


def _verdict(stored: Mapping[str, Any]) -> str:
    return _figures(stored["estimate"], stored["low"], stored["high"])


def _figures(estimate: float | None, low: float | None, high: float | None) -> str:
    if estimate is None:
        return "–"
    from stillwired.judge.figures import with_interval

    return with_interval(estimate, low, high)


def _of(rate: Rate) -> str:
    return f"{rate.hits:,} of {rate.trials:,}"


def _with_interval(rate: Rate) -> str:
    return f"{rate.hits} ({_between(rate.exact)}; clustered {_between(rate.clustered)})"


def _between(ends: tuple[float, float]) -> str:
    return f"{_percent(ends[0])} … {_percent(ends[1])}"


def _percent(share: float) -> str:
    """Write a share in per cent, with a digit more where it is small."""
    return f"{100 * share:.{2 if 0 < share < 0.01 else 1}f} %"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    cells = [" | ".join(text.replace("|", "\\|") for text in line) for line in lines]
    return "\n".join(f"| {line} |" for line in cells)
