from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.errors import UsageError
from stillwired.mutants.catalogue import TRIED
from stillwired.options import (
    NDIF,
    OPTIONS,
    Given,
    check_layers,
    collect,
    depth_id,
    model_ids,
    parse,
    parse_layers,
)
from stillwired.redraws import Redraw
from stillwired.settings import DEFAULT_MODEL, Settings
from stillwired.shards import Shard


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
            "shard": value(" 2/4 "),
            "device-map": value("balanced"),
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
    assert options.shard == Shard(2, 4)
    assert settings.device_map == "balanced"


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
        ("shard", "5/4", "there is no shard 5/4"),
        ("shard", "half", "'half' is no shard"),
        ("baseline", "nowhere.json", "--claims-baseline: there is no file .*baseline accept"),
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


def test_a_baseline_is_compared_with_one_checkpoint_and_alone(tmp_path):
    (tmp_path / "base.json").write_text("{}")

    def given(**more):
        values = {"baseline": "base.json", **more}
        return parse({name: Given(value, tmp_path) for name, value in values.items()})

    assert given(model=["a"]).baseline == tmp_path / "base.json"
    assert parse({}).baseline is None
    with pytest.raises(UsageError, match="--claims-model names 2"):
        given(model=["a", "b"])
    for name, value in (("expected", "base.json"), ("shard", "1/2"), ("mutants", True)):
        with pytest.raises(UsageError, match=rf"--claims-baseline .*--claims-{name}\. \w"):
            given(**{name: value})


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


def test_options_are_told_to_argparse_and_to_the_ini_file():
    parser = argparse.ArgumentParser()
    for option in OPTIONS:
        parser.add_argument(option.flag, **option.keywords)
    given = parser.parse_args(
        ["--claims-model", "a", "--claims-model", "b", "--claims-seed", "3", "--claims-strict"]
    )
    assert (given.claims_model, given.claims_seed, given.claims_strict) == (["a", "b"], "3", True)
    assert given.claims_device is None
    types = {option.name: option.ini_type for option in OPTIONS}
    assert (types["model"], types["seed"], types["strict"]) == ("args", "string", "bool")


def test_what_was_typed_wins_over_the_ini_file_and_keeps_its_folder():
    typed = {"claims_seed": "3", "claims_cache": "c", "claims_device": ""}
    ini = {"claims_seed": "5", "claims_corpus": "text", "claims_model": [], "claims_strict": False}
    ini["claims_remote_hosts"] = ["https://a"]
    here, there = Path("/here"), Path("/there")
    assert collect(typed.get, ini.get, here, there) == {
        "seed": Given("3", here),
        "cache": Given("c", here),
        "corpus": Given("text", there),
        "strict": Given(False, there),
        "remote_hosts": Given(["https://a"], there),
    }


def test_paths_start_where_they_were_given(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    assert parse({"cache": Given("c", inner)}).settings.cache == inner / "c"
    assert parse({"cache": Given("/c", inner)}).settings.cache == Path("/c")


# Mutants


def mutants(here=Path("/here"), **values):
    return parse({name.replace("_", "-"): Given(value, here) for name, value in values.items()})


def test_mutants_stand_behind_each_undamaged_checkpoint_in_a_profile_of_their_own():
    options = mutants(mutants=True, model=["a", "x/b@main"])
    assert options.mutants
    models, tried = options.settings.models, [mutant.slug for mutant in TRIED]
    assert models == (
        "a",
        *(f"a~{s}" for s in tried),
        "x/b@main",
        *(f"x/b@main~{s}" for s in tried),
    )
    assert options.settings.profile.name == "mutants"
    assert mutants(mutants=True, profile="quick").settings.profile.name == "quick"
    assert parse({}).mutants is False


def test_ten_of_each_kind_are_tried_and_spare_ones_when_they_are_named():
    harmful = Counter(mutant.damages for mutant in TRIED if not mutant.harmless)
    assert min(harmful["checkpoint"], harmful["instrument"]) >= 10
    spare = f"{DEFAULT_MODEL}~middle-layer-skipped"
    assert spare not in mutants(mutants=True).settings.models
    assert spare in mutants(mutants_only="middle layer skipped").settings.models


def test_some_mutants_may_be_named():
    options = mutants(mutants_only="rounded-to-4-bits, patches forgotten ,")
    assert options.mutants
    behind = [f"{DEFAULT_MODEL}~{slug}" for slug in ("rounded-to-4-bits", "patches-forgotten")]
    assert options.settings.models == (DEFAULT_MODEL, *behind)
    with pytest.raises(UsageError, match="Did you mean rounded-to-4-bits"):
        mutants(mutants_only="rounded-to-4-bit")


def test_one_damaged_checkpoint_is_judged_like_any_other():
    options = mutants(model=["a~Rounded to 4 bits"])
    assert options.settings.models == ("a~rounded-to-4-bits",)
    assert options.mutants is False
    assert options.settings.profile.name == "quick"
    with pytest.raises(UsageError, match="given twice"):
        mutants(model=["a~rounded-to-4-bits", "a~rounded to 4 bits"])
    with pytest.raises(UsageError, match="no mutant 'rounded-to-5-bits'"):
        mutants(model=["a~rounded-to-5-bits"])


def test_a_redraw_is_read_with_the_regime_that_it_is_about(tmp_path):
    def given(**more):
        return parse({name: Given(value, tmp_path) for name, value in more.items()}).settings

    assert given().redraw is None
    assert given(redraw=" seed-3 ").redraw == Redraw("seed", 3)
    kept = given(redraw="seed-3+reference-fits", dtype="torch.bfloat16")
    assert (kept.redraw, kept.dtype) == (Redraw("seed", 3, reference_fits=True), "bfloat16")
    for regime in ({}, {"dtype": "torch.float32", "attention": "eager"}):
        with pytest.raises(UsageError, match="float32 with eager attention"):
            given(redraw="seed-3+reference-fits", **regime)
    with pytest.raises(UsageError, match="no redraw 'data,1'"):
        given(redraw="data,1")


@pytest.mark.parametrize("name", ["expected", "baseline", "remote", "shard"])
def test_a_redraw_goes_without_what_judges_a_model(name, tmp_path):
    (tmp_path / "file.json").write_text("{}")
    value = {"remote": "ndif", "shard": "1/2"}.get(name, "file.json")
    given = {"redraw": Given("seed-1", tmp_path), name: Given(value, tmp_path)}
    with pytest.raises(UsageError, match=f"--claims-redraw does not go with --claims-{name}"):
        parse(given)


def test_a_damaged_checkpoint_is_not_redrawn(tmp_path):
    given = {"model": ["a~rounded-to-4-bits"], "redraw": "seed-1"}
    with pytest.raises(UsageError, match="--claims-redraw: a~rounded-to-4-bits is damaged"):
        parse({name: Given(value, tmp_path) for name, value in given.items()})


@pytest.mark.parametrize("name", ["expected", "baseline", "remote", "shard", "redraw"])
def test_mutants_go_without_what_decides_otherwise(name, tmp_path):
    (tmp_path / "file.json").write_text("{}")
    values = {"remote": "ndif", "shard": "1/2", "redraw": "data,1"}
    value = values.get(name, "file.json")
    given = {"mutants": Given(True, tmp_path), name: Given(value, tmp_path)}
    with pytest.raises(UsageError) as refused:
        parse(given)
    assert all(f"--claims-{one}" in str(refused.value) for one in ("mutants", name))


def test_a_checkpoint_is_damaged_once_and_on_this_machine():
    with pytest.raises(UsageError, match="damaged already"):
        mutants(mutants=True, model=["a~rounded-to-4-bits"])
    with pytest.raises(UsageError, match="a host runs weights of its own"):
        mutants(remote="ndif", model=["org/a@main~rounded-to-4-bits"])


def test_survivors_are_about_a_run_of_mutants(tmp_path):
    (tmp_path / "known.json").write_text("{}")
    found = mutants(tmp_path, mutants=True, survivors="known.json")
    assert found.survivors == tmp_path / "known.json"
    with pytest.raises(UsageError, match="Give both, or neither"):
        mutants(tmp_path, survivors="known.json")
    with pytest.raises(UsageError, match="no file"):
        mutants(tmp_path, mutants=True, survivors="none.json")


def test_a_damaged_checkpoint_is_called_after_both():
    names = model_ids(["m", "m~noise-of-a-half", "/x/m.gguf~noise-of-a-half", "/x/m.gguf"])
    assert names == ["m", "m~noise-of-a-half", "m~noise-of-a-half-2", "m-2"]
