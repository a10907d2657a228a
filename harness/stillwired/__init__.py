"""Published interpretability findings as tests that run on any checkpoint."""

from __future__ import annotations

__version__ = "0.1.0"
