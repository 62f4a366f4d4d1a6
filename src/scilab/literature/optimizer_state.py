"""Weights and Adam's memory as plain tensors by number, so that a training goes on with the same bits in any process.

thinc keys them by layer ids, which count up through a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from spacy.language import Language
from thinc.api import Adam

from .network import parameters

KINDS = ("mom1", "mom2", "averages")


def optimizer_of(learning_rate: float) -> Adam:
    """Adam with decoupled decay (Kingma & Ba 2015) and running means of the weights (Polyak & Juditsky 1992)."""
    return Adam(learning_rate, beta1=0.9, beta2=0.999, eps=1e-8, L2=0.01, grad_clip=1.0, L2_is_weight_decay=True,
                use_averages=True)  # fmt: skip


def snapshot(nlp: Language, optimizer: Adam) -> dict[str, Any]:
    """Copies of all tensors, in the order of `parameters`; a part that is not there yet is left out."""
    found: dict[str, Any] = {"weights": {}, "updates": {}, **{kind: {} for kind in KINDS}}
    for number, (node, name) in enumerate(parameters(nlp)):
        key = (node.id, name)
        found["weights"][str(number)] = torch.tensor(node.get_param(name))
        found["updates"][str(number)] = int(optimizer.nr_update.get(key, 0))
        for kind in KINDS:
            if key in getattr(optimizer, kind):
                found[kind][str(number)] = torch.tensor(getattr(optimizer, kind)[key])
    return found


def restore(nlp: Language, optimizer: Adam, state: Mapping[str, Any]) -> None:
    """The reverse of `snapshot`.

    Raises:
        ValueError: it is of another network.
    """
    places = parameters(nlp)
    shapes = [tuple(node.get_param(name).shape) for node, name in places]
    if [tuple(tensor.shape) for tensor in state["weights"].values()] != shapes:
        raise ValueError("this state is of another network, or of other labels; train from the beginning")
    for number, (node, name) in enumerate(places):
        key = (node.id, name)
        node.set_param(name, state["weights"][str(number)].numpy().copy())
        optimizer.nr_update[key] = int(state["updates"][str(number)])
        for kind in KINDS:
            if str(number) in state[kind]:
                getattr(optimizer, kind)[key] = state[kind][str(number)].numpy().copy()
