"""Passes that do not run here: on an NDIF host, or rehearsed in this process.

What travels is the body of a trace with the plain data that it was given: our functions as
source, our dataclasses by value, the model as a name. What comes back is numbers, strings and
tensors, so that a host needs nothing of this package. A `Rehearsal` shows that this holds.
"""

from __future__ import annotations

import io
import linecache
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stillwired.checkpoints.spec import parse_spec

# First: it imports nnsight and takes away what nnsight hangs on every object.
from stillwired.engine.tracing import Tracing
from stillwired.errors import EngineError, UsageError

# isort: split
import nnsight
from nnsight.intervention.backends.local import LocalSimulationBackend
from nnsight.intervention.backends.remote import RemoteError
from nnsight.ndif import pull_env
from nnsight.schema.request import RequestModel
from nnsight.tracing.util import push

PACKAGE = "stillwired"
TIMEOUT = 15.0
"""Seconds that a host may take to say what it runs."""


@dataclass(frozen=True)
class Host:
    """A model on an NDIF host.

    Attributes:
        url: The host, with its scheme.
        repo: Hub id of the model.
        revision: The hub's revision, or None for the newest: hosts key their default so.
    """

    url: str
    repo: str
    revision: str | None = None


def host_of(url: str, spec: str) -> Host:
    """Name the model that a host is to run for a checkpoint.

    Raises:
        UsageError: If the checkpoint is none that a host can have.
        CheckpointError: If the spec names no checkpoint.
    """
    read = parse_spec(spec)
    if read.kind != "hub":
        raise UsageError(
            f"--claims-remote: {spec} exists on this machine only, and {url} runs its own copies "
            "of models from the hub. Name the checkpoint as org/name@revision, or leave "
            "--claims-remote out."
        )
    return Host(url, read.repo, None if read.revision == "main" else read.revision)


def check_host(host: Host) -> None:
    """Check all that can be checked before anything is fetched or sent.

    Raises:
        UsageError: If there is no key, the host does not answer, or it runs a Python that
            cannot read what we send.
    """
    if not nnsight.CONFIG.API.APIKEY:
        raise UsageError(
            f"--claims-remote: {host.url} asks for an API key, and there is none. Set "
            "NDIF_API_KEY, or store one with `nnsight login`."
        )
    there = _python_of(host.url)
    here = ".".join(map(str, sys.version_info[:2]))
    if there != here:
        # Methods that a dataclass generates have no source, so they travel as bytecode.
        raise UsageError(
            f"--claims-remote: {host.url} runs Python {there} and this is Python {here}. Part of "
            f"what is sent is bytecode, which only the same version reads. Run under Python "
            f"{there}, or leave --claims-remote out."
        )


def _python_of(url: str) -> str:
    """Ask a host for its Python, as in ``3.11``."""
    import httpx

    try:
        answer = httpx.get(f"{url}/env", timeout=TIMEOUT)
        answer.raise_for_status()
        version = str(answer.json()["python_version"])
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UsageError(
            f"--claims-remote: {url} cannot be reached ({type(error).__name__}: {error}). Check "
            "the network and the host's name, or leave --claims-remote out."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--claims-remote: {url}/env does not say which Python runs there, so this is no "
            "NDIF host, or one of an older version. Name another, or leave --claims-remote out."
        ) from error
    return ".".join(version.split()[0].split(".")[:2])


def where(model: Any, remote: Host | str) -> dict[str, Any]:
    """Return what a trace has to be told to run remotely, once the model is named as there."""
    # By value, or the host would look for this package.
    nnsight.register(PACKAGE)
    if isinstance(remote, Host):
        model.repo_id, model.revision = remote.repo, remote.revision
        # Its display would run through ours, several lines for each pass.
        nnsight.CONFIG.APP.REMOTE_LOGGING = False
        return {"remote": remote.url}
    if remote != "local":
        raise EngineError(f"There is no way to run at {remote!r}. Give a Host, or 'local'.")
    return {"backend": Rehearsal(model)}


def introduce(model: Any) -> dict[str, str]:
    """Say how the model is run; the body of a trace."""
    module = model._module
    return {
        "dtype": str(next(module.parameters()).dtype).removeprefix("torch."),
        "attention": str(module.config._attn_implementation),
    }


@torch.no_grad()
def check_regime_there(tracing: Tracing, name: str, regime: Any) -> None:
    """Refuse a host whose copy is not run the way the regime says.

    Raises:
        EngineError: If it is not, or the host does not run it at all.
    """
    inputs = {"input_ids": torch.tensor([[0]]), "use_cache": False}
    there = tracing.run(inputs, introduce)
    for what, should in (("dtype", regime.dtype), ("attention", regime.attention)):
        if there[what] != should:
            raise EngineError(
                f"{name} is run with the {what} {there[what]} on the host, and {should} was asked "
                f"for. Use --claims-{what} {there[what]}."
            )


def detached(found: Any) -> Any:
    """Cut everything in an answer off from graphs, whatever its host thinks of gradients."""
    if isinstance(found, Tensor):
        return found.detach()
    if isinstance(found, Mapping):
        return {key: detached(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return type(found)(detached(value) for value in found)
    return found


class Rehearsal(LocalSimulationBackend):  # type: ignore[misc]
    """nnsight's simulation of a server, with the run and the way back in it.

    nnsight unpickles what was sent in a process without our modules, and then runs the original.
    Here what was sent is also what runs, while our modules are still away, and the answer comes
    back as bytes that hold nothing but tensors and plain Python.
    """

    def __call__(self, tracer: Any) -> None:
        """Run a trace's block as a server would."""
        pull_env()
        sent = RequestModel.serialize(tracer)
        objects = self.model._remoteable_persistent_objects()
        with self._elsewhere():
            try:
                answer = _serve(sent, objects)
            except Exception as error:
                # A server's errors are words.
                raise RemoteError(f"{type(error).__name__}: {error}") from None
        found = torch.load(io.BytesIO(answer), weights_only=True)
        for value in found.values():
            nnsight.save(value)
        push(tracer.info.frame, found)

    @contextmanager
    def _elsewhere(self) -> Iterator[None]:
        """Hide what a server would not have, and leave the process as it was found."""
        path, lines = list(sys.path), dict(linecache.cache)
        hidden = self._hide_local_modules()["modules"]
        absent = _Absent()
        sys.meta_path.insert(0, absent)
        try:
            yield
        finally:
            sys.meta_path.remove(absent)
            roots = {name.partition(".")[0] for name in hidden}
            for name in [name for name in sys.modules if name.partition(".")[0] in roots]:
                del sys.modules[name]  # a second copy, imported meanwhile
            sys.modules.update(hidden)
            sys.path[:] = path
            linecache.cache.clear()
            linecache.cache.update(lines)


class _Absent:
    """Finds no module of ours, wherever it is installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == PACKAGE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _serve(sent: bytes, objects: Mapping[str, Any]) -> bytes:
    """Do what a server does: rebuild the block, run it, send back what it saved."""
    tracer = RequestModel.deserialize(sent, objects)
    frame = tracer.info.frame
    given = set(frame.f_locals)
    # A server's mode is its own: gradients are on there, unless it says otherwise.
    with torch.enable_grad():
        tracer.execute(tracer.info.code)
    buffer = io.BytesIO()
    torch.save({name: frame.f_locals[name] for name in set(frame.f_locals) - given}, buffer)
    return buffer.getvalue()
