"""What a node and its link to the parent can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any


@dataclass(frozen=True)
class Profile:
    """A device trains on `speed` samples per second and answers with probability `availability` when it is asked in a
    round. The link between a node and its parent carries `bandwidth_bps` bits per second each way (None: no limit),
    after `latency_s` seconds. `engine` names the site, of those in a federation's `Sites`, where a device trains or an
    aggregator sums (None: the first).
    """

    speed: float = 1000.0
    availability: float = 1.0
    bandwidth_bps: float | None = None
    latency_s: float = 0.0
    engine: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("speed", self.speed), ("bandwidth_bps", self.bandwidth_bps)):
            if not (value is None and name == "bandwidth_bps") and not (_number(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value!r}")
        if not (_number(self.availability) and 0 <= self.availability <= 1):
            raise ValueError(f"availability must be between 0 and 1, got {self.availability!r}")
        if self.engine is not None and not (isinstance(self.engine, str) and self.engine):
            raise ValueError(f"engine must be the name of a site, or None for the first, got {self.engine!r}")
        if not (_number(self.latency_s) and self.latency_s >= 0):
            raise ValueError(f"latency_s must be a number of seconds from 0, got {self.latency_s!r}")

    @classmethod
    def among(cls, values: Mapping[str, Any]) -> Profile | None:
        """The profile in a mapping that may hold other things, too; None if it holds none."""
        found = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(**found) if found else None

    def to_dict(self) -> dict[str, float | str]:
        """What differs from the default."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Profile, name)}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
