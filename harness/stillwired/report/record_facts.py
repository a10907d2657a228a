"""What a record was made of, and how it is made again, as the last section of its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from stillwired.records.making import called
from stillwired.report.html import safe
from stillwired.report.reproduce import recipe
from stillwired.report.shown import Shown
from stillwired.report.text import count, duration, fact


def record_facts(shown: Shown) -> str:
    """Write the section: checkpoint, text, tasks, environment, checks, and the command."""
    made = recipe(shown.data)
    notes = "".join(f"<li>{safe(note)}</li>" for note in made.notes)
    return f"""<section class="facts">
<h3>How to reproduce it</h3>
<pre tabindex="0"><code>{safe(made.command)}</code></pre>
<ul>{notes}</ul>
<p>Without a model: <code>stillwired judge RECORD.json</code> derives every verdict again from the
record and the table of outcomes beside it.</p>
<h3>What was measured on</h3>
<dl>{"".join(_facts(shown))}</dl>
{_checks(shown)}</section>
"""


def _facts(shown: Shown) -> Iterator[str]:
    data = shown.data
    checkpoint, environment, times = data["checkpoint"], data["environment"], data["times"]
    for key, value in checkpoint.items():
        if key == "regime":
            yield _pair("regime", ", ".join(f"{k} {v}" for k, v in value.items()))
        elif value not in (None, ""):
            yield _pair(_NAMES.get(key, key), count(value) if type(value) is int else str(value))
    if data["corpus"] is not None:
        yield _pair("text", f"{data['corpus']['name']}, sha256 {data['corpus']['digest']}")
    for name, digest in (data["tasks"] or {}).items():
        yield _pair(f"task {name}", f"sha256 {digest}")
    layers = ", ".join(str(layer) for layer in data.get("layers", ()))
    yield _pair("profile", data["profile"] + (f", depths {layers}" if layers else ""))
    yield _pair("seed", str(data["seed"]))
    if "shard" in data:
        parts = ", ".join(map(str, data["shard"]["parts"]))
        yield _pair("part", f"{parts} of {data['shard']['of']} of a divided run")
    if data.get("incomplete"):
        yield _pair("incomplete", "an error or -x kept some claims from being judged")
    if data.get("redraw"):
        yield _pair("redraw", data["redraw"])
    yield _pair("Python", f"{environment['python']}, {count(environment['threads'])} threads")
    machine = (environment.get(name) for name in ("platform", "processor", "cpu"))
    yield _pair("platform", ", ".join(part for part in machine if part))
    yield _pair("packages", ", ".join(f"{k} {v}" for k, v in environment["packages"].items()))
    for name, digest in environment.get("code", {}).items():
        yield _pair(f"code of {called(name)}", f"sha256 {digest}")
    yield _pair("digest of the record", data["digest"])
    if "started" in times:
        yield _pair("started", f"{times['started']}, took {duration(times['seconds'])}")


_NAMES = {
    "digest": "sha256",
    "layers": "blocks",
    "heads": "heads a block",
    "kv_heads": "key-value heads a block",
    "model_type": "family",
}


def _pair(name: str, text: str) -> str:
    return f"<dt>{safe(name)}</dt><dd>{safe(text)}</dd>"


def _checks(shown: Shown) -> str:
    """List every check of the instruments once, with the number of cells that it stands for."""
    found = Counter(
        (check.name, check.passed, check.detail)
        for verdict in shown.finished.verdicts
        for check in verdict.checks
        if check.kind == "instrument"
    )
    if not found:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{safe(name)}</th><td>{"passed" if passed else "failed"}</td>'
        f"<td>{safe(detail)}</td><td>{fact(cells)}</td></tr>"
        for (name, passed, detail), cells in found.items()
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("check", "", "figures", "cells"))
    return (
        "<details><summary>Checks of the instruments</summary>"
        f'<table class="checks"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        "</details>"
    )
