from __future__ import annotations

import pytest
import torch

from stillwired.checkpoints import regime as regimes
from stillwired.checkpoints.regime import (
    DEVICE_MAPS,
    DTYPES,
    Regime,
    check_regime,
    hardware,
    resolved,
)
from stillwired.errors import UsageError
from stillwired.settings import Settings


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cpu_computes_in_every_dtype(dtype: str) -> None:
    assert check_regime(Regime(dtype=dtype)) == (torch.device("cpu"), getattr(torch, dtype))


def test_only_a_remote_regime_speaks_of_a_host() -> None:
    assert Regime().to_json() == {"device": "cpu", "dtype": "float32", "attention": "eager"}
    remote = Regime(remote="https://api.ndif.us")
    assert remote.to_json() == {**Regime().to_json(), "remote": "https://api.ndif.us"}
    assert str(remote) == "cpu float32 eager https://api.ndif.us"


def test_a_record_keeps_what_another_machine_understands() -> None:
    settings = Settings(device="cuda:1", dtype="bfloat16", attention="sdpa", device_map="balanced")
    assert Regime.of(settings).to_json() == {
        "device": "cuda",
        "dtype": "bfloat16",
        "attention": "sdpa",
        "device_map": "balanced",
    }


def test_auto_is_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, meant in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert resolved("auto") == meant
        assert resolved("cuda:1") == "cuda:1"


def test_a_gpu_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware(Regime()) == {}
    monkeypatch.setattr(regimes, "gpus", lambda: ("A", "B", "A"))
    assert hardware(Regime()) == {}
    assert hardware(Regime("cuda")) == {"accelerator": "A"}
    assert hardware(Regime("cuda:1")) == {"accelerator": "B"}
    spread = Regime("cuda", device_map="balanced")
    assert hardware(spread) == {"accelerator": "2 x A, 1 x B"}


def test_a_map_needs_a_name_and_gpus() -> None:
    with pytest.raises(UsageError, match=", ".join(DEVICE_MAPS)):
        check_regime(Regime(device_map="everywhere"))
    with pytest.raises(UsageError, match=r"this run's device is cpu\. Give --claims-device cuda"):
        check_regime(Regime(device_map="balanced"))


@pytest.mark.parametrize("dtype", ["float8", "int8", "fp32", "Tensor", "nn", "", "float32 "])
def test_an_unknown_dtype_names_those_that_exist(dtype: str) -> None:
    with pytest.raises(UsageError, match="float32, bfloat16, float16, float64"):
        check_regime(Regime(dtype=dtype))


@pytest.mark.parametrize("device", ["gpu", "", "meta", "xpu", "cpu:7", "cuda:99", "vulkan", "cpu:"])
def test_a_device_that_is_not_there_names_those_that_are(device: str) -> None:
    with pytest.raises(UsageError, match=r"no device .* It has: cpu"):
        check_regime(Regime(device=device))


def test_a_device_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match="no device 'cuda'"):
        check_regime(Regime(device="cuda"))


def test_a_dtype_that_the_device_cannot_compute_in_names_those_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    able = regimes._computes
    monkeypatch.setattr(
        regimes, "_computes", lambda device, dtype: dtype != torch.bfloat16 and able(device, dtype)
    )
    with pytest.raises(UsageError, match=r"compute in bfloat16\. It can in: float32, float16"):
        check_regime(Regime(dtype="bfloat16"))


@pytest.mark.parametrize("attention", ["fast", "", "kernels-community/flash-attn", "None"])
def test_only_kernels_that_come_with_transformers_are_taken(attention: str) -> None:
    with pytest.raises(UsageError, match="eager, sdpa"):
        check_regime(Regime(attention=attention))
