"""Second-order training: K-FAC, distributed as in KAISA, and races of it against other optimizers."""

from .budget import Activations, Fit, activations, fit
from .damping import LevenbergMarquardt
from .footprint import Prediction, Storage, predict
from .launch import RankFailed
from .layers import Shape
from .placement import Placement, place
from .preconditioner import KFAC
from .racers import Racer
from .racing import Finish, Race
from .report import Report
from .tasks import TASKS, Task

__all__ = [
    "KFAC", "TASKS", "Activations", "Finish", "Fit", "LevenbergMarquardt", "Placement", "Prediction", "Race", "Racer",
    "RankFailed", "Report", "Shape", "Storage", "Task", "activations", "fit", "place", "predict",
]  # fmt: skip
