"""What a person sees and clicks: panels that launch, show and steer runs in a notebook."""

from importlib import import_module as _import

from .estimate import Estimate
from .federation import FederationWidget
from .fields import Choice, Number, Text, Toggle
from .health import health
from .journal import JournalWidget
from .kfac import KFACWidget
from .panel import Panel
from .recorded import recorded
from .steering import SteeringWidget

__all__ = [
    "Choice",
    "Estimate",
    "ExchangeWidget",
    "ExtractionWidget",
    "FederationWidget",
    "JournalWidget",
    "KFACWidget",
    "LabelWidget",
    "LiteratureWidget",
    "Number",
    "Panel",
    "SteeringWidget",
    "Text",
    "Toggle",
    "TrainingWidget",
    "health",
    "recorded",
]

_LATER = {  # loaded when they are asked for: they bring spaCy, which takes seconds that no other notebook should wait
    "ExchangeWidget": "exchange", "ExtractionWidget": "extraction", "LabelWidget": "label",
    "LiteratureWidget": "literature", "TrainingWidget": "training",
}  # fmt: skip


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import(f".{_LATER[name]}", __name__), name)
