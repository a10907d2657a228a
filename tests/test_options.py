from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.errors import UsageError
from stillwired.options import (
    NDIF,
    OPTIONS,
    Given,
    check_layers,
    depth_id,
    model_ids,
    parse,
    parse_layers,
)
from stillwired.settings import DEFAULT_MODEL, Settings


def test_nothing_given_means_the_defaults():
    options = parse({})
    assert options.settings == Settings()
    assert options.settings.models == (DEFAULT_MODEL,)
    assert options.record is None
    assert options.expected is None


def test_every_option_is_read(tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "tasks").mkdir()
    (tmp_path / "known.json").write_text("{}")

    def value(of):
        return Given(of, tmp_path)

    options = parse(
        {
            "model": value(["a", "b/c@main"]),
            "profile": value("standard"),
            "layers": value("0.1, 15"),
            "device": value("cuda:1"),
            "dtype": value("torch.bfloat16"),
            "attention": value("sdpa"),
            "remote": value("my.host:8001"),
            "remote_hosts": value(["https://my.host:8001/"]),
            "corpus": value("text"),
            "tasks": value("tasks"),
            "cache": value("cache"),
            "record": value("out/r.json"),
            "strict": value(True),
            "expected": value("known.json"),
            "seed": value("7"),
        }
    )
    settings = options.settings
    assert settings.models == ("a", "b/c@main")
    assert settings.profile.name == "standard"
    assert settings.layers == (0.1, 15)
    assert (settings.device, settings.dtype, settings.attention) == ("cuda:1", "bfloat16", "sdpa")
    assert settings.remote == "https://my.host:8001"
    assert settings.corpus == tmp_path / "text"
    assert settings.tasks == tmp_path / "tasks"
    assert settings.cache == tmp_path / "cache"
    assert settings.strict is True
    assert settings.seed == 7
    assert options.record == tmp_path / "out" / "r.json"
    assert options.expected == tmp_path / "known.json"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("profile", "huge", "no profile 'huge'"),
        ("layers", "0.1,x", "'x' is no depth"),
        ("layers", "0.1,", "'' is no depth"),
        ("layers", "1.5", "1.5 is outside 0.0 to 1.0"),
        ("layers", "nan.", "is no depth"),
        ("layers", "-0.5", "outside 0.0 to 1.0"),
        ("layers", "-3", "-3 is negative"),
        ("layers", "3,3", "3 is given twice"),
        ("corpus", "nowhere", "no file or folder"),
        ("tasks", "nowhere", "no folder .*nowhere. Give a folder of .json files"),
        ("expected", "nowhere.json", "no file"),
        ("record", "out.txt", "does not end in .json"),
        ("model", ["a", "a"], "a is given twice"),
        ("model", [" "], "is empty"),
        ("remote", "https://example.org", "example.org is not among the hosts that are trusted"),
        ("remote", "http://api.ndif.us", "http://api.ndif.us is not among"),
        ("remote", "https://api.ndif.us:444", "not among"),
        ("remote", "https://api.ndif.us.example.org", "not among"),
        ("remote", "https://api.ndif.us@example.org", "is no host"),
        ("remote", "https://api.ndif.us/path", "is no host"),
        ("remote", "file:///etc", "is no host"),
        ("remote", "https://[::1", "is no host"),
        ("remote", "a:b", "is no host"),
        ("seed", "x", "'x' is no seed"),
        ("seed", "-1", "'-1' is no seed"),
    ],
)
def test_what_cannot_be_honoured_is_refused(name, value, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        parse({name: Given(value, tmp_path)})


@pytest.mark.parametrize(
    "text", ["ndif", "NDIF", "api.ndif.us", "https://API.ndif.us/", " https://api.ndif.us"]
)
def test_ndif_is_trusted_without_being_named(text, tmp_path):
    assert parse({"remote": Given(text, tmp_path)}).settings.remote == NDIF


@pytest.mark.parametrize("trusted", [["http://localhost:5001"], ["a.org", "http://localhost:5001"]])
def test_a_host_of_ones_own_is_trusted_once_it_is_named(trusted, tmp_path):
    given = {
        "remote": Given("http://localhost:5001", tmp_path),
        "remote_hosts": Given(trusted, tmp_path),
    }
    assert parse(given).settings.remote == "http://localhost:5001"
    given["remote"] = Given("https://localhost:5001", tmp_path)
    with pytest.raises(UsageError, match="claims_remote_hosts in the ini file"):
        parse(given)


def test_a_trusted_host_that_is_none_is_named(tmp_path):
    given = {"remote": Given("ndif", tmp_path), "remote_hosts": Given(["ftp://x"], tmp_path)}
    with pytest.raises(UsageError, match="claims_remote_hosts: 'ftp://x' is no host"):
        parse(given)


def test_a_point_makes_a_relative_depth_and_none_a_block():
    layers = parse_layers("1,1.0,0.25")
    assert layers == (1, 1.0, 0.25)
    assert [type(layer) for layer in layers] == [int, float, float]


@given(st.lists(st.integers(0, 200), min_size=1, max_size=6, unique=True), st.integers(1, 200))
def test_blocks_are_checked_against_the_model(layers, blocks):
    if max(layers) < blocks:
        check_layers(layers, "model", blocks)
    else:
        with pytest.raises(UsageError, match=f"model has blocks 0 to {blocks - 1}"):
            check_layers(layers, "model", blocks)


def test_the_message_about_a_missing_block_names_model_and_range():
    with pytest.raises(UsageError, match="block 99 does not exist; tiny has blocks 0 to 29"):
        check_layers((0.5, 99), "tiny", 30)


@pytest.mark.parametrize(
    ("depth", "name"),
    [(0.5, "depth0.50"), (1.0, "depth1.00"), (0.125, "depth0.125"), (15, "block15")],
)
def test_ids_of_depths(depth, name):
    assert depth_id(depth) == name


@given(st.lists(st.floats(0, 1, allow_nan=False), max_size=6, unique=True))
def test_ids_of_different_depths_differ(depths):
    assert len({depth_id(depth) for depth in depths}) == len(depths)


def test_ids_of_models_are_short_and_unique():
    specs = ["smollm2-135m-instruct", "/a/gpt2", "b/gpt2/", "org/m@main", "x/model.gguf"]
    assert model_ids(specs) == ["smollm2-135m-instruct", "gpt2", "gpt2-2", "m@main", "model"]


@given(st.lists(st.text("ab/", min_size=1, max_size=4), max_size=6))
def test_ids_of_models_never_collide(specs):
    assert len(set(model_ids(specs))) == len(specs)


def test_help_shows_default_and_ini_key():
    for option in OPTIONS:
        assert f"Default: {option.default}." in option.help_line
        assert option.key in option.help_line
        assert option.flag.startswith("--claims-")


def test_paths_start_where_they_were_given(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    assert parse({"cache": Given("c", inner)}).settings.cache == inner / "c"
    assert parse({"cache": Given("/c", inner)}).settings.cache == Path("/c")
