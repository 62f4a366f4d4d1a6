"""What a person sees and clicks: panels that launch, show and steer runs in a notebook."""

from .estimate import Estimate
from .federation import FederationWidget
from .fields import Choice, Number, Text, Toggle
from .health import health
from .journal import JournalWidget
from .kfac import KFACWidget
from .label import LabelWidget
from .panel import Panel
from .recorded import recorded

__all__ = [
    "Choice",
    "Estimate",
    "FederationWidget",
    "JournalWidget",
    "KFACWidget",
    "LabelWidget",
    "Number",
    "Panel",
    "Text",
    "Toggle",
    "health",
    "recorded",
]
