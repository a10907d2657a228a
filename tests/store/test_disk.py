from __future__ import annotations

import errno
from pathlib import Path

import pytest

from stillwired.errors import CacheError
from stillwired.store.disk import (
    explain_full_disk,
    is_full_disk,
    is_read_only,
    megabytes,
    naming,
    require_space,
)


def chained(inner: Exception) -> Exception:
    try:
        try:
            raise inner
        except Exception as error:
            raise ValueError("could not save") from error
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "full"), True),
        (OSError(errno.EDQUOT, "quota"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (chained(OSError(errno.ENOSPC, "full")), True),
        (OSError(errno.EACCES, "no"), False),
        (chained(OSError(errno.EACCES, "no")), False),
        (ValueError("28"), False),
    ],
)
def test_a_full_disk_is_recognised(tmp_path: Path, error: Exception, full: bool) -> None:
    assert is_full_disk(error) == full
    told = explain_full_disk(error, tmp_path, 3_000_000)
    assert (told is not None) == full
    if told is not None:
        assert "about 3 MB are needed" in str(told)


def test_a_chain_of_errors_that_bites_its_tail_ends() -> None:
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert not is_full_disk(one)


def test_rights_are_told_from_other_trouble() -> None:
    assert is_read_only(OSError(errno.EROFS, ""))
    assert is_read_only(PermissionError(errno.EACCES, ""))
    assert not is_read_only(OSError(errno.ENOSPC, ""))


def test_space_is_required_where_the_folder_will_be(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet" / "there", 1, "it")
    with pytest.raises(CacheError, match="The thing needs about 1,000,000,000,000 MB"):
        require_space(tmp_path / "not" / "yet", 10**18, "the thing")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 kB"), (999_999, "1,000 kB"), (93_400_000, "93 MB")]
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert megabytes(count) == text


def test_an_error_of_reading_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in the way") as caught, naming(tmp_path / "a"):
        raise OSError(errno.EIO, "in the way")
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path / "a"):
        (tmp_path / "b").read_bytes()
    assert caught.value.filename == str(tmp_path / "b")
