"""The models that a coordinator has made and somebody still holds, or trains from."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..planes import Key
from .deployment import Deployment


@dataclass(eq=False)
class Version:
    """A model that was made at the coordinator; `users` are those that hold it or train from it."""

    number: int
    key: Key
    users: int = field(default=0, compare=False)


class Versions:
    """Counts the users of each version; what nobody uses leaves the data plane. `newest` is in use, and so is `tested`,
    the last one that ended a round.
    """

    def __init__(self, deployment: Deployment, model: Key, number: int) -> None:
        self.deployment = deployment
        self.newest = self.hold(Version(number, model))
        self.tested = self.hold(self.newest)

    def hold(self, version: Version) -> Version:
        """Note one more user."""
        version.users += 1
        return version

    def let_go(self, version: Version | None) -> None:
        """A user needs it no more."""
        if version is not None:
            version.users -= 1
            if not version.users:
                self.deployment.drop(version.key)

    def made(self, number: int, key: Key) -> Version:
        """There is a newer version."""
        self.newest = self.instead(self.newest, Version(number, key))
        return self.newest

    def instead(self, old: Version | None, new: Version) -> Version:
        """A user takes `new` for `old`."""
        self.hold(new)
        self.let_go(old)
        return new
