"""A GGUF file turned, once, into what everything else reads: safetensors in float32.

transformers can load GGUF directly, but takes tens of seconds for it every time. The weights are
unpacked exactly (no rounding is added to that of the quantisation) and written together with the
config and the tokenizer that the file describes.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stillwired.checkpoints.gguf_header import read_gguf_header
from stillwired.checkpoints.loading import check_finite, check_loaded, panics_told, quiet_progress
from stillwired.errors import CheckpointError


def convert_gguf(path: Path, to: Path) -> None:
    """Convert a GGUF file to a checkpoint folder.

    Args:
        path: The GGUF file.
        to: An existing, empty folder.

    Raises:
        CheckpointError: If the file is damaged, transformers cannot read its architecture, or
            its weights do not fill the model or are not finite.
        OSError: If the folder cannot be written.
    """
    read_gguf_header(path)
    # A folder that holds nothing else: config or tokenizer files that lie beside the GGUF file
    # would otherwise take part. It lies where a process that is killed leaves nothing behind.
    with TemporaryDirectory(dir=to) as alone, panics_told(str(path)):
        link = Path(alone, "model.gguf")
        link.symlink_to(path.absolute())
        try:
            model, tokenizer, info = _load(link)
        except Exception as error:
            # The system's own errors have a number; transformers raises OSError for bad content.
            if isinstance(error, MemoryError) or getattr(error, "errno", None):
                raise
            raise CheckpointError(
                f"{path} cannot be converted: {type(error).__name__}: {error}. If its architecture "
                "is one that transformers reads from GGUF, the file is damaged; otherwise give a "
                "folder with safetensors."
            ) from error
    check_loaded(info, str(path))
    check_finite(model, str(path))
    with quiet_progress():
        model.save_pretrained(to)
        tokenizer.save_pretrained(to)


def _load(link: Path) -> tuple[Any, Any, dict[str, Any]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # Unpacking draws a progress bar of its own, which nothing but redirection turns off.
    with quiet_progress(), contextlib.redirect_stderr(io.StringIO()):
        model, info = AutoModelForCausalLM.from_pretrained(
            link.parent,
            gguf_file=link.name,
            # Never left packed, whatever kernels this machine may have.
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
            local_files_only=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(
            link.parent, gguf_file=link.name, trust_remote_code=False, local_files_only=True
        )
    return model, tokenizer, info
