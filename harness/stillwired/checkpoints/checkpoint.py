"""A checkpoint in use: model and tokenizer, loaded when first asked for and checked at once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stillwired.checkpoints.loading import (
    check_finite,
    check_loaded,
    check_spread,
    check_tokenizer,
    panics_told,
    quiet_progress,
)
from stillwired.checkpoints.memory import require_memory, room_on_gpus
from stillwired.checkpoints.prepare import Prepared, key_value_heads
from stillwired.checkpoints.regime import (
    Regime,
    check_regime,
    computed_by,
    hardware,
    suit_experts,
)
from stillwired.clock import LOADING, spending
from stillwired.errors import CheckpointError, UsageError

__all__ = ["Checkpoint", "Regime"]

if TYPE_CHECKING:
    from torch import nn

    from stillwired.checkpoints.anatomy import Anatomy


class Checkpoint:
    """Weights and tokenizer under one digest, run in one regime.

    Name and digest are known at once; `model`, `tokenizer` and `anatomy` load when first used.

    Args:
        prepared: What `stillwired.checkpoints.prepare.prepare` returned.
        regime: Device, dtype and attention kernel.
    """

    def __init__(self, prepared: Prepared, regime: Regime | None = None) -> None:
        self.prepared = prepared
        self.regime = regime or Regime()
        self._lock = threading.RLock()
        self._model: nn.Module | None = None
        self._tokenizer: Any = None
        self._verified = False

    @classmethod
    def of_model(
        cls,
        model: nn.Module,
        tokenizer: Any,
        *,
        name: str,
        origin: str = "made in memory",
    ) -> Checkpoint:
        """Wrap a model that exists already, such as a damaged copy or a tiny random one.

        The regime is the model's own.

        Args:
            model: A transformers model for causal language modelling; it is used as it is, and
                must not be changed afterwards, or its digest is no longer true.
            tokenizer: Its tokenizer.
            name: Short name.
            origin: What it is, in words.

        Raises:
            CheckpointError: If weights are not finite or the tokenizer does not fit.
        """
        config: Any = model.config
        text = config.get_text_config()
        heads = int(getattr(text, "num_attention_heads", 0) or 0)
        prepared = Prepared(
            name=name,
            spec=name,
            folder=None,
            digest=_digest_of_model(model, tokenizer),
            origin=origin,
            parameters=sum(p.numel() for p in model.parameters()),
            layers=int(text.num_hidden_layers),
            heads=heads,
            kv_heads=key_value_heads(text.to_dict(), heads),
            width=int(text.hidden_size),
            vocabulary=int(text.vocab_size),
            model_type=str(config.model_type),
        )
        dtype = str(model.dtype).removeprefix("torch.")
        made = cls(prepared, Regime(str(model.device), dtype, config._attn_implementation))
        made._tokenizer, made._model = tokenizer, made._ready(model, tokenizer)
        return made

    def __repr__(self) -> str:
        return f"Checkpoint({self.name!r}, {self.digest[:12]}, {self.regime})"

    @property
    def name(self) -> str:
        """Short name."""
        return self.prepared.name

    @property
    def digest(self) -> str:
        """sha256 over weights, config and tokenizer, hexadecimal."""
        return self.prepared.digest

    @property
    def key(self) -> dict[str, str]:
        """What a cache key needs to know: the checkpoint's digest, how it is run and by what."""
        how = {**self.regime.to_json(), **hardware(self.regime)}
        return {"checkpoint": self.digest, **how, **computed_by()}

    @property
    def model(self) -> Any:
        """The transformers model, in evaluation mode and without gradients for its weights.

        Raises:
            CheckpointError: If weights are missing, left over or broken, or the tokenizer does
                not fit.
            UsageError: If this machine or this family lacks the device, dtype or kernel.
        """
        with self._lock:
            if self._model is None:
                self._model = self._model_from_folder()
            return self._model

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer; it loads without the weights.

        Raises:
            CheckpointError: If it cannot be loaded, or does not fit the vocabulary.
        """
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = self._tokenizer_from_folder()
            return self._tokenizer

    @cached_property
    def anatomy(self) -> Anatomy:
        """Where the model keeps its parts.

        Raises:
            AnatomyError: If its family is unknown or its parts are not where they should be.
        """
        from stillwired.checkpoints.anatomy import anatomy_of

        return anatomy_of(self.model)

    @cached_property
    def prefix(self) -> list[int]:
        """The special tokens that the tokenizer itself puts before a text, often none."""
        text = "a text"
        with panics_told(self.name):
            encoded = self.tokenizer(text, return_special_tokens_mask=True)
        ids = list(encoded["input_ids"])
        mask = list(encoded["special_tokens_mask"])
        return ids[: mask.index(0)]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise texts, without special tokens before or behind them.

        Raises:
            CheckpointError: If a text contains a special token that the model has no row for.
        """
        if not texts:
            return []
        with panics_told(self.name):
            encoded = self.tokenizer(
                list(texts),
                add_special_tokens=False,
                padding=False,
                truncation=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )
        ids: list[list[int]] = encoded["input_ids"]
        rows = self.prepared.vocabulary
        for text, tokens in zip(texts, ids, strict=True):
            if tokens and max(tokens) >= rows:
                token = self.tokenizer.convert_ids_to_tokens(max(tokens))
                raise CheckpointError(
                    f"The text {text[:40]!r} contains the special token {token!r}, for which "
                    f"{self.name} has no embedding. Remove it from the text."
                )
        return ids

    # What mutants replace

    def change(self, model: Any) -> None:
        """Change the weights that were just loaded; a sound checkpoint leaves them alone."""

    # Inside

    @spending(LOADING)
    def _tokenizer_from_folder(self) -> Any:
        from transformers import AutoTokenizer

        self._verify()
        with panics_told(self.name):
            try:
                tokenizer = AutoTokenizer.from_pretrained(
                    self.prepared.folder, trust_remote_code=False, local_files_only=True
                )
            except Exception as error:
                raise self._explained(error) from error
        check_tokenizer(tokenizer, self.prepared.vocabulary, self.name)
        return tokenizer

    @spending(LOADING)
    def _model_from_folder(self) -> nn.Module:
        import torch
        from transformers import AutoModelForCausalLM

        device, dtype = check_regime(self.regime)
        require_memory(self.name, self.prepared.parameters, self.regime)
        self._verify()
        with quiet_progress(), panics_told(self.name):
            try:
                model, info = AutoModelForCausalLM.from_pretrained(
                    self.prepared.folder,
                    dtype=dtype,
                    **self._placement(),
                    attn_implementation=self.regime.attention,
                    use_safetensors=True,
                    trust_remote_code=False,
                    local_files_only=True,
                    # Not to take them, but to name them: check_loaded refuses them.
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                )
            except Exception as error:
                raise self._explained(error) from error
        check_loaded(info, self.name)
        if self.regime.device_map:
            check_spread(model, self.name)
        if model.config._attn_implementation != self.regime.attention:
            raise UsageError(
                f"{self.name} came up with the attention kernel "
                f"{model.config._attn_implementation!r} instead of {self.regime.attention!r}. Use "
                "--claims-attention eager."
            )
        try:
            model = model if self.regime.device_map else model.to(device)
        except torch.OutOfMemoryError as error:
            raise UsageError(
                f"{self.name} in {self.regime.dtype} does not fit into the memory of "
                f"{self.regime.device}. Use another device, or a smaller checkpoint."
            ) from error
        return self._ready(model, self.tokenizer)

    def _verify(self) -> None:
        """Compare the files with their digest, once."""
        if not self._verified:
            self.prepared.verify()
            self._verified = True

    def _placement(self) -> dict[str, Any]:
        """How a model that is spread is to be laid out: over GPUs, and nothing but them."""
        if not self.regime.device_map:
            return {}
        return {"device_map": self.regime.device_map, "max_memory": room_on_gpus()}

    def _ready(self, model: Any, tokenizer: Any) -> nn.Module:
        check_finite(model, self.name)
        rows = int(model.get_input_embeddings().weight.shape[0])
        check_tokenizer(tokenizer, rows, self.name)
        suit_experts(model)
        model.eval()
        model.requires_grad_(False)
        self.change(model)
        ready: nn.Module = model
        return ready

    def _explained(self, error: Exception) -> Exception:
        """Tell a kernel that is not to be had from a checkpoint that cannot be loaded."""
        told = str(error).strip()
        kernel = self.regime.attention
        about_kernel = kernel != "eager" and any(
            word in told.lower() for word in ("attention", "sdpa", "flash")
        )
        if about_kernel:
            return UsageError(
                f"{self.name} ({self.prepared.model_type}) cannot run with the attention kernel "
                f"{kernel!r} here: {told.splitlines()[0]} Use --claims-attention eager."
            )
        return CheckpointError(
            f"{self.name} cannot be loaded from {self.prepared.folder}: {type(error).__name__}: "
            f"{told}. Check that its config.json belongs to its weights, and that this version of "
            "transformers has its architecture built in."
        )


def _digest_of_model(model: nn.Module, tokenizer: Any) -> str:
    """sha256 over a model's config, weights and tokenizer, in memory."""
    import torch

    digest = hashlib.sha256()
    config: Any = model.config
    digest.update(config.to_json_string(use_diff=False).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().data)
    for token, id_ in sorted(tokenizer.get_vocab().items()):
        digest.update(f"{id_} {token}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()
