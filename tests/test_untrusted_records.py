"""Records and baselines that were edited, cut or come from the future, given to every command."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stillwired.cli import main
from tests.report.made_curves import family, outcome, write

EDITS = 60
COMMANDS: dict[str, Callable[[Path, Path], list[object]]] = {
    "judge": lambda file, _: ["judge", file],
    "curves": lambda file, _: ["curves", file, "--out", file.parent / "pictures"],
    "report": lambda file, _: ["report", file, "--out", file.parent / "page.html"],
    "diff, old": lambda file, sound: ["diff", file, sound],
    "diff, new": lambda file, sound: ["diff", sound, file],
    "accept": lambda file, _: ["baseline", "accept", file, "--out", file.parent / "accepted.json"],
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    return write(folder / "base.json", family("linear"), outcome("bigram"))


def copied(record: Path, to: Path) -> Path:
    """Copy a record or baseline with its table."""
    for path in record.parent.glob(f"{record.stem}.*"):
        shutil.copy(path, to / path.name)
    return to / record.name


def check_refused(
    arguments: list[object], folder: Path, capsys: pytest.CaptureFixture[str], *words: object
) -> None:
    """Check that a command says why it will not, and writes nothing into a folder."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"stillwired {arguments[0]}: ")
    for word in words:
        assert str(word) in said.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_record_edited_anywhere_is_refused(command, sound, tmp_path, capsys):
    record = copied(sound, tmp_path)
    text, draw = record.read_text(), random.Random(0)
    # Times stand outside the digest: when a run was is nobody's finding.
    known = text.index('"times"')
    for _ in range(EDITS):
        at, sign = draw.randrange(known), draw.choice('0123456789aeZ-.,:"{}[]')
        record.write_text(text[:at] + sign + text[at + 1 :])
        try:
            same = json.loads(record.read_text()) == json.loads(text)
        except ValueError:
            same = False
        if not same:
            check_refused(COMMANDS[command](record, sound), tmp_path, capsys, record)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"schema": 999}', ("schema 999", "Upgrade stillwired")),
        ("[" * 100_000, ("is not JSON", "cut short or edited")),
        ('{"schema": ' + "9" * 10_000 + "}", ("is not JSON",)),
        ('{"schema": NaN}', ("was not written by stillwired",)),
        ("", ("is not JSON",)),
        ("[]", ("is no",)),
    ],
    ids=["newer", "deep", "long number", "no number", "empty", "list"],
)
def test_what_is_no_record_of_today_is_refused(command, content, words, sound, tmp_path, capsys):
    record = copied(sound, tmp_path)
    record.write_text(content)
    check_refused(COMMANDS[command](record, sound), tmp_path, capsys, record, *words)


@pytest.mark.parametrize("command", ["judge", "curves", "diff, old", "accept"])
def test_a_table_with_one_other_score_is_refused(command, sound, tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    record = copied(sound, tmp_path)
    table = record.with_name("base.outcomes.parquet")
    rows = pq.read_table(table)
    scores = rows.column("score").to_pylist()
    scores[0] = 1.0 - scores[0]
    at = rows.schema.get_field_index("score")
    pq.write_table(rows.set_column(at, "score", pa.array(scores)), table)
    check_refused(COMMANDS[command](record, sound), tmp_path, capsys, table, "edited")


def test_a_baseline_edited_anywhere_is_refused(sound, tmp_path, capsys):
    baseline = tmp_path / "baseline.json"
    assert main(["baseline", "accept", str(sound), "--out", str(baseline)]) == 0
    capsys.readouterr()
    text, draw = baseline.read_text(), random.Random(0)
    for _ in range(EDITS):
        at = draw.randrange(len(text))
        baseline.write_text(text[:at] + draw.choice("0123456789aeZ-") + text[at + 1 :])
        if baseline.read_text() != text:
            check_refused(["diff", baseline, sound], tmp_path, capsys, baseline)
