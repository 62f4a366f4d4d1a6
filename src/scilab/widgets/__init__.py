"""What a person sees and clicks: panels that launch, show and steer runs in a notebook."""

from scilab.widgets.estimate import Estimate
from scilab.widgets.fields import Choice, Number, Text, Toggle
from scilab.widgets.panel import Panel

__all__ = ["Choice", "Estimate", "Number", "Panel", "Text", "Toggle"]
