"""Text that cannot act, pages that admit nothing of others, files that are whole."""

from __future__ import annotations

import html
import unicodedata

import pytest

from stillwired.errors import UsageError
from stillwired.report.html import document, require_place, safe, write_page
from stillwired.report.lens_terminal import pieces
from tests.report.test_lens_page import HOSTILE, Parsed


@pytest.mark.parametrize("text", [*HOSTILE, "plain", "a" + "\u0301", "日本 a", "x\u200by", 7])
def test_whatever_is_written_can_be_seen_and_does_nothing(text):
    written = safe(text)
    assert not set(written) & set("<>\"'")
    shown = html.unescape(written)
    assert shown == "".join(part for part, _ in pieces(str(text), literal=True))
    kinds = {unicodedata.category(sign) for sign in shown if sign not in "\n\t"}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_a_page_admits_its_own_style_and_script_and_nothing_else():
    page = document("title", "p{color:red}", "let a = 1 < 2;", "<p>hello</p>")
    parsed = Parsed(page)
    (policy,) = [at["content"] for at, _ in parsed.all("meta") if "http-equiv" in at]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    other = document("title", "p{color:red}", "let a = 1;", "<p>hello</p>")
    (changed,) = [at["content"] for at, _ in Parsed(other).all("meta") if "http-equiv" in at]
    assert changed.split("script-src")[0] == policy.split("script-src")[0]
    assert changed != policy


def test_pages_are_written_whole(tmp_path, monkeypatch):
    path = tmp_path / "new" / "lens.html"
    require_place(path)
    assert not list(path.parent.iterdir())
    write_page(path, "<p>é\n")
    assert path.read_bytes() == "<p>é\n".encode()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_page(path, "other")
    assert path.read_text() == "<p>é\n"
    assert [found.name for found in path.parent.iterdir()] == ["lens.html"]


def test_places_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"lens\.html cannot be written: .*--out"):
        require_place(tmp_path / "file" / "lens.html")
    with pytest.raises(UsageError, match=r"is a folder\. Name a file in it"):
        require_place(tmp_path)


def test_what_is_there_stays_as_it_is_until_it_is_written(tmp_path):
    path = tmp_path / "lens.html"
    path.write_text("old")
    require_place(path)
    assert path.read_text() == "old"


def test_the_message_names_the_option_that_was_given(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"in another folder with --claims-report\."):
        require_place(tmp_path / "file" / "page.html", "--claims-report")
    with pytest.raises(UsageError, match=r"in another folder with --claims-report\."):
        write_page(tmp_path / "file" / "page.html", "", "--claims-report")
