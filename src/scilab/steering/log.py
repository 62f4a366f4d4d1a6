"""The log of a campaign: its records as plain data and back, a state brought to where a log ends, and replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from ..planes import Store
from .learning import examples, fit, in_pieces
from .records import (
    CampaignStarted,
    Decision,
    Evaluated,
    Failed,
    Learned,
    LearningTask,
    Reallocate,
    Simulate,
    Steered,
    Train,
)
from .state import State
from .task_server import CampaignError

EVENTS = {kind.__name__: kind for kind in (CampaignStarted, Evaluated, Failed, Learned, Steered)}
"""The records that a state takes in; the others only tell."""


def plain(record: Any) -> dict[str, Any]:
    """A record as the Journal has it, without its number and time."""
    return {"kind": type(record).__name__, **asdict(record)}


def event(record: Mapping[str, Any]) -> Any:
    """The event that a plain record tells of, None if it tells of none."""
    kind = EVENTS.get(record["kind"])
    if kind is None:
        return None
    values = {field.name: record[field.name] for field in fields(kind) if field.name in record}
    then = tuple(_decision(each) for each in values.pop("then", ()))
    if "top" in values:
        values["top"] = tuple(map(tuple, values["top"]))
    if "tasks" in values:
        values["tasks"] = tuple(LearningTask(**each) for each in values["tasks"])
    return kind(**values, then=then)


def _decision(record: Mapping[str, Any]) -> Decision:
    return {"simulate": Simulate, "train": Train, "reallocate": Reallocate}[record["what"]](**record)


def take(state: State, happened: Any, policy: Any, mean: Any = None, std: Any = None) -> Any:
    """The one step of a campaign: a state takes in an event, a policy decides; returns the event with its decisions.

    Raises:
        ValueError: a `Steered` event cannot be carried out; nothing has changed.
        CampaignError: the policy failed, or decided what cannot be.
    """
    state.happened(happened, mean, std)
    try:
        then = tuple(policy.decide(state, happened))
    except CampaignError:  # it has found its own words
        raise
    except Exception as error:
        raise CampaignError(f"the policy failed: {type(error).__name__}: {error}") from error
    for decision in then:
        if isinstance(decision, Simulate) and (decision.index, decision.fidelity) in state.pending:
            raise CampaignError(f"the policy asked twice for {decision.candidate!r} ({decision.fidelity})")
        state.decided(decision)
    if isinstance(happened, Learned):
        return replace(happened, ranking=state.ranking.digest, top=top(state), then=then)
    if isinstance(happened, Steered):
        now = {"slots": dict(state.slots), "hits": state.hits}
        return replace(happened, ranking=state.ranking.digest, top=top(state), then=then, **now)
    if isinstance(happened, CampaignStarted):
        return replace(happened, ranking=state.ranking.digest, then=then)
    if then:
        object.__setattr__(happened, "then", then)  # nobody has been told of it yet; a copy costs as much as a decision
    return happened


def top(state: State, n: int = 24) -> tuple[tuple[str, float, float, float], ...]:
    """(candidate, predicted, uncertainty, score) of the first of the queue that have a prediction."""
    if state.mean is None:
        return ()
    return tuple(
        (state.candidates[i], float(state.mean[i]), float(state.std[i]), float(state.scores[i]))
        for i in state.ranking.first(n)
        if i < len(state.mean)
    )


def read(state: State, events: Iterable[Any], policy: Any = None) -> str:
    """Bring a new state to where the log ends; returns the digest of the ranking then. Models are not made. A `policy`
    hears all of it; what it decides is not done again.
    """
    digest = state.ranking.digest
    for each in events:
        state.happened(each)
        if policy is not None:
            policy.decide(state, each)
        for decision in each.then:
            state.decided(decision)
        digest = getattr(each, "ranking", digest)
    return digest


def replay(state: State, events: Iterable[Any], policy: Any, surrogate: Any, space: Sequence[str]) -> int:
    """Decide everything in a log again, from a new state, every model trained anew; returns the number of decisions.

    Raises:
        CampaignError: another decision or ranking than the log has; it says where.
    """
    number, wants = 0, getattr(surrogate, "wants", "")
    with Store.local() as store:
        features = store.put((surrogate.features, list(space)))
        for at, logged in enumerate(events):
            mean = std = None
            if isinstance(logged, Learned):
                lesson = state.training
                if lesson is None:
                    raise CampaignError(f"event {at}, Learned: no training had been decided")
                more = state.candidates[len(space) : lesson.candidates]
                model, _ = fit(features, surrogate, more, *examples(state, lesson.rows, wants), lesson.seed, None)
                mean, std = in_pieces(features, surrogate, more, model, lesson.candidates)
            found = take(state, replace(logged, then=()), policy, mean, std)
            if (found.then, getattr(found, "ranking", "")) != (logged.then, getattr(logged, "ranking", "")):
                raise CampaignError(f"event {at}, {type(logged).__name__}: decided anew, it differs from the log")
            number += len(logged.then)
    return number
