"""What the coordinator or an aggregator of a federation that flows knows: whom it has asked, what has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from .contributions import Contribution
from .policies import Deadline, Policy
from .versions import Version


@dataclass(eq=False)
class Node:
    """One node. Those that wait collect, from the sending of a version to the passing on of what has come."""

    name: str
    policy: Policy
    version: Version | None = None
    asked: dict[str, int] = field(default_factory=dict)  # child → the collection in which it was asked
    parts: list[Contribution] = field(default_factory=list)
    # only of those that wait:
    collection: int = 0
    collecting: bool = False
    past: bool = False  # the deadline of this collection
    came: set[str] = field(default_factory=set)  # in this collection
    failures: list[str] = field(default_factory=list)  # of this collection
    absent: int = 0  # of these, how many only did not answer

    def collect(self) -> None:
        """A new collection begins."""
        self.collection, self.collecting, self.past = self.collection + 1, True, False
        self.came, self.failures, self.absent = set(), [], 0

    def late(self, children: list[str]) -> bool:
        """Whether these, who have sent something and are free again, were asked for an earlier collection."""
        asked = [self.asked.pop(child, self.collection) for child in children]
        return self.policy.waits and (not self.collecting or min(asked) < self.collection)

    def over(self) -> bool:
        """Whether a collection that goes on may end; then it has."""
        if not self.collecting:
            return False
        needed = self._need()
        short = len(self.came) + len(self.asked) < needed
        if short or not self.asked or (self.past and len(self.came) >= needed):
            self.collecting = False
        return not self.collecting

    def shortfall(self) -> str | None:
        """Why nothing can be passed on of a collection that is over; None if there is something."""
        came, needed = len(self.came), self._need()
        if came < needed:
            quorum = f"a quorum of {self.policy.quorum} cannot be met"
            return f"{quorum}: {came} of {self._wanted()} answered, {needed} are needed; {self.failures[0]}"
        if not self.parts:
            return f"nobody gave an update; {(self.failures or ['nothing came'])[0]}"
        return None

    def _wanted(self) -> int:
        return len(self.came) + len(self.asked) + len(self.failures)

    def _need(self) -> int:
        """How many children must have answered."""
        return min(self.policy.need(self._wanted()), self._wanted()) if isinstance(self.policy, Deadline) else 0
