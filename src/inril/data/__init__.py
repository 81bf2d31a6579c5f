"""Demonstrations: files, sources, and the training data made from them."""

from __future__ import annotations

from inril.data.chunks import ChunkDataset, DemoBatch, SplitDemos, split_demos
from inril.data.demo_file import Demos, demo_returns, read_demos, read_provenance
from inril.data.normalizer import Normalizer

__all__ = [
    "ChunkDataset",
    "DemoBatch",
    "Demos",
    "Normalizer",
    "SplitDemos",
    "demo_returns",
    "read_demos",
    "read_provenance",
    "split_demos",
]
