"""Simulation campaigns steered by a model that learns from them, and by people, while they run."""

from .acquisitions import Acquisition, expected_improvement, greedy, random, thompson, ucb, uncertainty
from .campaign import Campaign, Result
from .policies import Batch, Interleaved, MultiFidelity, Policy, Streaming
from .result_cache import ResultCache
from .retrain import every, never, on_drift
from .surrogates import Ensemble, Forest
from .task_server import CampaignError
from .thinker import Thinker, agent, event_responder, result_processor, task_submitter

__all__ = [
    "Acquisition",
    "Batch",
    "Campaign",
    "CampaignError",
    "Ensemble",
    "Forest",
    "Interleaved",
    "MultiFidelity",
    "Policy",
    "Result",
    "ResultCache",
    "Streaming",
    "Thinker",
    "agent",
    "event_responder",
    "every",
    "expected_improvement",
    "greedy",
    "never",
    "on_drift",
    "random",
    "result_processor",
    "task_submitter",
    "thompson",
    "ucb",
    "uncertainty",
]
