"""Second-order training: K-FAC, distributed as in KAISA."""

from .budget import Activations, Fit, activations, fit
from .damping import LevenbergMarquardt
from .footprint import Prediction, Storage, predict
from .layers import Shape
from .placement import Placement, place
from .preconditioner import KFAC
from .report import Report

__all__ = [
    "KFAC", "Activations", "Fit", "LevenbergMarquardt", "Placement", "Prediction", "Report", "Shape", "Storage",
    "activations", "fit", "place", "predict",
]  # fmt: skip
