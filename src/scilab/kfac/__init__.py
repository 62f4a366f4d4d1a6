"""Second-order training: K-FAC, distributed as in KAISA, and races of it against other optimizers."""

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
    "KFAC",
    "TASKS",
    "Finish",
    "LevenbergMarquardt",
    "Placement",
    "Prediction",
    "Race",
    "Racer",
    "RankFailed",
    "Report",
    "Shape",
    "Storage",
    "Task",
    "place",
    "predict",
]
