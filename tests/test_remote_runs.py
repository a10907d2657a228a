"""Runs that cannot go to a host: one clear sentence, exit code 4, nothing measured."""

from __future__ import annotations

import pytest

from tests.running import REFUSED, ended, start

CLOSED = "http://127.0.0.1:9"
TRUSTED = ("-o", f"claims_remote_hosts={CLOSED}")
HUB = ("--claims-model", "org/model@main")
# A configuration of nnsight's own must not lend these runs a key.
NO_KEY = {"NDIF_API_KEY": "", "NNSIGHT_CONFIG": "/nonexistent"}


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        (
            ("--claims-remote", "https://example.org", *HUB),
            "key",
            ("https://example.org is not among the hosts", "claims_remote_hosts"),
        ),
        (
            ("--claims-remote", "ndif"),
            "key",
            ("smollm2-135m-instruct exists on this machine only", "org/name@revision"),
        ),
        (("--claims-remote", "ndif", *HUB), "", ("asks for an API key", "Set NDIF_API_KEY")),
        (
            ("--claims-remote", CLOSED, *TRUSTED, *HUB),
            "key",
            (f"{CLOSED} cannot be reached", "Check the network"),
        ),
    ],
    ids=["stranger", "local", "no-key", "closed"],
)
def test_what_cannot_run_remotely_is_refused_at_once(tmp_path, arguments, key, words):
    ran = ended(start(tmp_path, *arguments, **{**NO_KEY, "NDIF_API_KEY": key}))
    assert ran.code == REFUSED, ran.output
    assert ran.says("--claims-remote: ", *words), ran.output
    assert "Traceback" not in ran.output
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
