"""The same readings from a remote pass as from a local one, rehearsed on tiny models."""

from __future__ import annotations

import linecache
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nnsight.modeling import huggingface

from stillwired.engine import remote
from stillwired.engine.cone import Cone
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.remote import Host, check_host, host_of
from stillwired.engine.sites import embedding, final, head, logits, mlp, residual
from stillwired.engine.tracing import Tracing
from stillwired.errors import AnatomyError, EngineError, UsageError
from tests.engine.tiny import WIDTH, prompts, tiny, tiny_model

SITES = [embedding(-1), head(1, 2), mlp(0, -2), residual(1), final(-1), logits(-1), logits()]
INPUTS = {"input_ids": torch.tensor([[3, 5, 8]]), "use_cache": False}


@pytest.fixture(params=["llama", "gpt2"])
def family(request):
    return request.param


@pytest.fixture
def rehearsed():
    return lambda family: Engine(tiny(family), remote="local")


def values(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def changes() -> list[Edit]:
    return [
        Edit(embedding(-2), "add", values(WIDTH)),
        Edit(head(1, 1, -1), "replace", values(2, 8), rows=[0, 2]),
        Edit(mlp(1), "scale", 1.5, rows=[1]),
        Edit(final(-1), "add", values(WIDTH), rows=[2]),
    ]


def assert_equal(ours, theirs):
    ours, theirs = list(ours), list(theirs)
    assert [reading.rows for reading in ours] == [reading.rows for reading in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.lengths == b.lengths
        assert set(a._values) == set(b._values)
        for site in b._values:
            assert torch.equal(a[site], b[site]), str(site)
            assert not a[site].requires_grad


@pytest.mark.parametrize("pad", [False, True])
def test_a_remote_reading_equals_a_local_one(engine_of, rehearsed, family, pad):
    tokens = prompts(6, 6, 4)
    ours = rehearsed(family).read(tokens, SITES, pad=pad)
    assert_equal(ours, engine_of(family).read(tokens, SITES, pad=pad))


def test_a_remote_edit_equals_a_local_one(engine_of, rehearsed, family):
    tokens = prompts(6, 6, 6)
    ours = rehearsed(family).edit(tokens, changes(), SITES)
    assert_equal(ours, engine_of(family).edit(tokens, changes(), SITES))


def sweep(engine):
    cone = Cone(engine)
    edits = [Edit(head(layer, layer, -2), "add", values(8), rows=[layer]) for layer in range(3)]
    edits.append(Edit(embedding(-6), "scale", 1.5))
    edits.append(Edit(final(-1), "add", 1.0, rows=[1]))
    plan = cone.plan([prompts(7)[0]] * 3, edits, [logits(-1), final(-1), residual(1, -1)])
    assert plan.reason is None
    readings = list(plan.run())
    assert cone.checked == 1
    return readings


def test_a_remote_sweep_equals_a_local_one(engine_of, rehearsed, family):
    assert_equal(sweep(rehearsed(family)), sweep(engine_of(family)))


def test_nnsights_own_simulation_gives_the_same(engine_of, rehearsed, family):
    engine = rehearsed(family)
    engine.tracing._where = {"remote": "local"}
    path = list(sys.path)
    try:
        assert_equal(sweep(engine), sweep(engine_of(family)))
        tokens = prompts(6, 6, 6)
        ours = engine.edit(tokens, changes(), SITES)
        assert_equal(ours, engine_of(family).edit(tokens, changes(), SITES))
    finally:
        sys.path[:] = path  # nnsight puts what it hid at the end


def test_weights_that_ask_for_gradients_change_nothing(engine_of, family):
    checkpoint = tiny(family)
    checkpoint.model.requires_grad_(True)
    tokens = prompts(6, 6, 6)
    ours = Engine(checkpoint, remote="local").edit(tokens, changes(), SITES)
    assert_equal(ours, engine_of(family).edit(tokens, changes(), SITES))


# What the rehearsal would find


def run(engine, body, *given):
    with torch.no_grad():
        return engine.tracing.run(INPUTS, body, *given)


def test_a_body_that_imports_this_package_fails(engine_of, rehearsed):
    def body(model):
        from stillwired.engine.sites import residual

        return {"site": str(residual(0))}

    assert run(engine_of("llama"), body) == {"site": str(residual(0))}
    with pytest.raises(EngineError, match=r"ModuleNotFoundError: No module named 'stillwired"):
        run(rehearsed("llama"), body)


def test_a_body_that_is_sent_by_name_fails(rehearsed, monkeypatch):
    """What our own modules do unless they are registered."""
    from cloudpickle.cloudpickle import _PICKLE_BY_VALUE_MODULES

    engine = rehearsed("llama")
    monkeypatch.setattr("nnsight.ndif._PULLED_ENV", True)
    _PICKLE_BY_VALUE_MODULES.discard("stillwired")
    try:
        with pytest.raises(EngineError, match="No module named 'stillwired'"):
            list(engine.read(prompts(4), [final(-1)]))
    finally:
        _PICKLE_BY_VALUE_MODULES.add("stillwired")


def test_an_answer_that_holds_a_class_of_ours_fails(rehearsed):
    edit = Edit(final(-1), "add", 1.0)
    with pytest.raises(EngineError, match="pickle"):
        run(rehearsed("llama"), lambda model, edit: {"edit": edit}, edit)


def test_an_error_on_the_way_comes_back_in_words(rehearsed):
    def body(model):
        model.model.layers[1].output  # noqa: B018
        return model.model.layers[0].output

    with pytest.raises(EngineError, match=r"failed at the rehearsal, .* OutOfOrderError"):
        run(rehearsed("llama"), body)


def test_the_process_stays_as_it_was(rehearsed):
    engine = rehearsed("gpt2")

    def all_of():
        return list(sys.path), list(sys.meta_path), dict(sys.modules), dict(linecache.cache)

    before = all_of()
    list(engine.read(prompts(5), [final(-1)]))
    with pytest.raises(EngineError):
        run(engine, lambda model: missing)  # noqa: F821
    after = all_of()
    assert after[:2] == before[:2]
    assert [name for name, module in before[2].items() if after[2].get(name) is not module] == []
    assert after[3].keys() == before[3].keys()


def test_local_passes_stay_exact_beside_remote_ones(engine_of, family):
    checkpoint = tiny(family)
    here, there = Engine(checkpoint), Engine(checkpoint, remote="local")
    tokens = prompts(6, 6, 6)
    list(there.edit(tokens, changes(), SITES))
    assert_equal(here.read(tokens, SITES), engine_of(family).read(tokens, SITES))


def test_gradients_are_refused(rehearsed):
    with pytest.raises(EngineError, match="Gradients do not come back"):
        list(rehearsed("llama").edit(prompts(6, 6, 6), changes(), SITES, grad=True))


def test_a_host_in_another_regime_is_refused(monkeypatch):
    def other(model):
        return {"dtype": "bfloat16", "attention": "eager"}

    monkeypatch.setattr(remote, "introduce", other)
    with pytest.raises(EngineError, match="--claims-dtype bfloat16"):
        Engine(tiny("llama"), remote="local")


def test_a_host_with_other_weights_is_refused(monkeypatch):
    def elsewhere(model, tokenizer, device, remote):
        return Tracing(tiny_model("llama", seed=1), tokenizer, device, remote)

    monkeypatch.setattr("stillwired.engine.engine.Tracing", elsewhere)
    with pytest.raises(AnatomyError, match="the identity “embedding = input of the first block”"):
        Engine(tiny("llama"), remote="local")


def test_a_place_that_is_none_is_refused():
    with pytest.raises(EngineError, match="no way to run at 'there'"):
        Engine(tiny("llama"), remote="there")


# Hosts

NDIF = "https://api.ndif.us"


def test_a_host_has_models_of_the_hub():
    assert host_of(NDIF, "org/model@main") == Host(NDIF, "org/model", None)
    assert host_of(NDIF, "org/model@0123abc") == Host(NDIF, "org/model", "0123abc")


@pytest.mark.parametrize("spec", ["smollm2-135m-instruct", "."])
def test_what_exists_here_only_is_refused(spec):
    with pytest.raises(UsageError, match="exists on this machine only"):
        host_of(NDIF, spec)


def test_a_host_is_asked_for_the_model_by_its_name_on_the_hub():
    class Model:
        repo_id, revision = "/some/snapshot", None

    model = Model()
    assert remote.where(model, Host(NDIF, "org/model", "0123abc")) == {"remote": NDIF}
    assert (model.repo_id, model.revision) == ("org/model", "0123abc")


def test_without_a_key_nothing_is_sent(monkeypatch):
    monkeypatch.setattr("nnsight.CONFIG.API.APIKEY", None)
    monkeypatch.setattr(remote, "_python_of", pytest.fail)
    with pytest.raises(UsageError, match=r"no API key|there is none\. Set NDIF_API_KEY"):
        check_host(Host(NDIF, "org/model"))


def test_a_host_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("nnsight.CONFIG.API.APIKEY", "key")
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        check_host(Host("http://127.0.0.1:9", "org/model"))


def test_a_host_that_is_lost_on_the_way_is_named(monkeypatch):
    engine = Engine(tiny("llama"))
    engine.tracing.remote = host = Host("http://127.0.0.1:9", "org/model")
    engine.tracing._where = remote.where(engine.tracing._traced, host)
    monkeypatch.setitem(huggingface._ID_CACHE, "org/model", "org/model")
    said = r"A pass failed at http://127\.0\.0\.1:9, .*ConnectionRefusedError"
    with pytest.raises(EngineError, match=said):
        list(engine.read(prompts(4), [final(-1)]))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"python_version": "2.7.18 (default)"}, r"runs Python 2\.7 and this is Python 3"),
        ({"something": "else"}, "does not say which Python"),
        (["a list"], "does not say which Python"),
    ],
)
def test_a_host_that_could_not_read_what_we_send_is_refused(monkeypatch, answer, says):
    import httpx

    def get(url, **how):
        assert url == f"{NDIF}/env"
        return httpx.Response(200, json=answer, request=httpx.Request("GET", url))

    monkeypatch.setattr("nnsight.CONFIG.API.APIKEY", "key")
    monkeypatch.setattr(httpx, "get", get)
    with pytest.raises(UsageError, match=says):
        check_host(Host(NDIF, "org/model"))


def test_a_host_with_our_python_is_taken(monkeypatch):
    import httpx

    answer = httpx.Response(
        200, json={"python_version": sys.version}, request=httpx.Request("GET", NDIF)
    )
    monkeypatch.setattr("nnsight.CONFIG.API.APIKEY", "key")
    monkeypatch.setattr(httpx, "get", lambda url, **how: answer)
    check_host(Host(NDIF, "org/model"))


# A host in a process of its own, with its own copy of the model and without this package


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def served(request, tmp_path_factory):
    checkpoint = tiny(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint.model.save_pretrained(folder)
    checkpoint.tokenizer.save_pretrained(folder)
    command = [sys.executable, str(Path(__file__).with_name("ndif_host.py")), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            yield request.param, f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


@pytest.fixture
def at_host(served, monkeypatch):
    family, url = served
    monkeypatch.setattr("nnsight.CONFIG.API.APIKEY", "a-key")
    for repo in ("org/model", "org/other"):
        monkeypatch.setitem(huggingface._ID_CACHE, repo, repo)  # the hub's spelling of it
    host = Host(url, "org/model", "0123abc")
    check_host(host)
    return Engine(tiny(family), host)


def test_a_host_reads_edits_and_sweeps_as_this_process_does(served, at_host, engine_of):
    here, tokens = engine_of(served[0]), prompts(6, 6, 6)
    assert_equal(at_host.read(tokens, SITES), here.read(tokens, SITES))
    assert_equal(at_host.edit(tokens, changes(), SITES), here.edit(tokens, changes(), SITES))
    assert_equal(sweep(at_host), sweep(here))


def test_a_host_that_fails_is_quoted(served, at_host):
    def body(model):
        import stillwired

        return {"where": stillwired.__file__}

    said = rf"A pass failed at {served[1]}, .*ModuleNotFoundError: import of stillwired"
    with pytest.raises(EngineError, match=said):
        run(at_host, body)
    with pytest.raises(EngineError, match=r"no model .*org/other"):
        Engine(tiny(served[0]), Host(served[1], "org/other"))
