"""What a person sees and clicks: panels that launch, show and steer runs in a notebook."""

from .estimate import Estimate
from .federation import FederationWidget
from .fields import Choice, Number, Text, Toggle
from .panel import Panel

__all__ = ["Choice", "Estimate", "FederationWidget", "Number", "Panel", "Text", "Toggle"]
