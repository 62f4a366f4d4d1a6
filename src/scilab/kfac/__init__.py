"""Second-order training: K-FAC, distributed as in KAISA."""

from .footprint import Prediction, Storage, predict
from .layers import Shape
from .placement import Placement, place
from .preconditioner import KFAC, Report

__all__ = ["KFAC", "Placement", "Prediction", "Report", "Shape", "Storage", "place", "predict"]
