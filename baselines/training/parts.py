"""Cutting a batch into parts that are computed one after the other, so that a large batch fits into a small memory.

Conventions
-----------
Panoramas are not cut: the people of a panorama stay together, and a part's ``owner`` counts its own panoramas.
"""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import torch

from baselines.data.batch import Batch


def cut(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into at most ``parts`` batches of almost equal numbers of panoramas, all with at least one person.

    Fewer come back where there are fewer panoramas than parts, or where the panoramas of a part have no people.
    """
    total = batch.panoramas.shape[0]
    parts = min(parts, total)
    if parts <= 1:
        return [batch] if len(batch) else []
    edges = [total * k // parts for k in range(parts + 1)]
    pieces = (_piece(batch, first, last) for first, last in pairwise(edges))
    return [piece for piece in pieces if len(piece)]


def _piece(batch: Batch, first: int, last: int) -> Batch:
    """Panoramas ``first`` to ``last`` - 1 and their people."""
    people = torch.nonzero((batch.owner >= first) & (batch.owner < last)).squeeze(-1)
    chosen: dict[str, Any] = {"ids": [batch.ids[k] for k in people.tolist()], "panoramas": batch.panoramas[first:last]}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if field.name not in chosen and value is not None:
            chosen[field.name] = value[people]
    chosen["owner"] = chosen["owner"] - first
    return replace(batch, **chosen)
