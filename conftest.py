"""Wire the fixtures of the claims; the plugin itself comes with the package."""

from __future__ import annotations

pytest_plugins = [
    "fixtures.checkpoints",
    "fixtures.text",
    "fixtures.future_lens",
    "fixtures.logit_lens",
    "fixtures.function_vectors",
]
