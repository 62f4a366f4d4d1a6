"""Second-order training: K-FAC, distributed as in KAISA."""

from .damping import LevenbergMarquardt
from .footprint import Prediction, Storage, predict
from .layers import Shape
from .placement import Placement, place
from .preconditioner import KFAC
from .report import Report

__all__ = ["KFAC", "LevenbergMarquardt", "Placement", "Prediction", "Report", "Shape", "Storage", "place", "predict"]
