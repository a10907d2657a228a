from __future__ import annotations

import pytest

from stillwired.errors import CorpusError, UsageError
from stillwired.options import RunOptions
from stillwired.records.preparing import cache_of, check_files, prepare_for
from stillwired.settings import Settings


def test_the_cache_is_the_one_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("STILLWIRED_CACHE", str(tmp_path / "usual"))
    assert cache_of(Settings(cache=tmp_path / "asked")) == tmp_path / "asked"
    assert cache_of(Settings()) == tmp_path / "usual"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"dtype": "int3"}, "no dtype 'int3'"),
        ({"remote": "https://api.ndif.us"}, "org/name@revision"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_fetched(asked, says, tmp_path):
    settings = Settings(cache=tmp_path / "cache", **asked)
    with pytest.raises(UsageError, match=says):
        prepare_for(settings, "smollm2-135m-instruct", pytest.fail)
    assert not (tmp_path / "cache").exists()


def test_a_mistake_in_a_file_of_tasks_is_told_at_once(tmp_path):
    check_files(RunOptions(Settings()))
    (tmp_path / "mine.json").write_text('[{"input": "hot"}]')
    with pytest.raises(CorpusError, match=r"mine\.json"):
        check_files(RunOptions(Settings(tasks=tmp_path)))
