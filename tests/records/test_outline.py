"""What a run would judge now: the user's own text and tasks among it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stillwired.data.corpus import load_corpus
from stillwired.data.tasks import load_task_folder
from stillwired.errors import CorpusError, RecordError
from stillwired.instruments.questions import digest_of
from stillwired.options import RunOptions
from stillwired.records.outline import outdated, read_outline, write_outline
from stillwired.records.record import read_record
from stillwired.records.run import RunFolder, environment
from stillwired.records.session import Run, cell_of
from stillwired.settings import Settings
from stillwired.store.cache import Store
from tests.records.made_records import CODE, claim, evidence, record


@pytest.fixture
def asked(tmp_path):
    """Writes the outline of a run with these settings, and reads it back."""

    def ask(**settings):
        settings = Settings(cache=tmp_path / "cache", **settings)
        run = Run(RunOptions(settings), RunFolder(tmp_path / "run", "t"), lambda _: None)
        run.note_code(CODE)
        run.folder.note("checkpoint", "m", {"name": "m", "digest": "ab" * 32})
        path = tmp_path / "outline.json"
        cells = [cell_of(claim("a"), {"checkpoint_spec": "m", "ahead": k}, "test") for k in (1, 2)]
        write_outline(path, run, cells)
        return read_outline(path)

    return ask


def test_an_outline_says_what_a_record_will(asked, tmp_path):
    found = asked()
    assert found["environment"] == environment() | {"code": CODE}
    assert found["declarations"] == {"some-paper/a": claim("a").to_json()}
    made = read_record(record(tmp_path / "r.json", [(claim("a"), {"ahead": 1}, evidence(0.3))]))
    assert outdated(made, found) == ""
    other = replace(claim("a"), margin=0.2)
    made = read_record(record(tmp_path / "o.json", [(other, {"ahead": 1}, evidence(0.3))]))
    assert outdated(made, found) == "the declarations of claims"


def test_the_user_s_own_text_and_tasks_are_read(asked, tmp_path):
    assert (asked()["corpus"], asked()["tasks"]) == (None, None)
    folder, text = tmp_path / "tasks", tmp_path / "text"
    folder.mkdir()
    text.mkdir()
    rows = [{"input": f"a{k}", "output": f"b{k}"} for k in range(40)]
    (folder / "mine.json").write_text(json.dumps(rows))
    for k in range(60):
        (text / f"{k}.txt").write_text(" ".join(f"word{k}x{n}" for n in range(60)))
    found = asked(corpus=text, tasks=folder)
    store = Store(tmp_path / "elsewhere")
    assert found["corpus"] == load_corpus(store, text).digest
    assert found["tasks"] == {"mine": digest_of(load_task_folder(folder)["mine"])}
    (text / "0.txt").write_text("another text " * 20)
    (folder / "mine.json").write_text(json.dumps(rows[1:]))
    after = asked(corpus=text, tasks=folder)
    assert after["corpus"] != found["corpus"]
    assert after["tasks"]["mine"] != found["tasks"]["mine"]


def test_what_cannot_be_read_leaves_no_outline(asked, tmp_path):
    (tmp_path / "short.txt").write_text("Too short.")
    with pytest.raises(CorpusError):
        asked(corpus=tmp_path / "short.txt")
    assert not (tmp_path / "outline.json").exists()
    with pytest.raises(RecordError, match="There is no outline"):
        read_outline(tmp_path / "outline.json")
