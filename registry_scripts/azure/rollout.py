"""Lets a new revision take over step by step, watched, and puts everything back as it was."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from registry_scripts.azure import az, smoke
from registry_scripts.azure.container_app import App, told
from registry_scripts.azure.smoke import Endpoint, RedError

#: Requests below which a share of failures says nothing.
FEWEST = 20
#: Seconds between two looks at a revision that is watched, at most.
LOOK = 30.0
#: Seconds between the first two tries to put things back; each time four times as many: Azure refuses a change while one is going on.
AGAIN, TRIES = 2.0, 4
#: Seconds of one of Azure's counts. That in which a watch begins is left out: it holds what the revision answered while it started.
COUNT = 60.0


class ChangedError(Exception):
    """Somebody else has changed the traffic in the meantime."""


@dataclass
class Rollout:
    """A new revision beside the one that serves.

    Args:
        app: the container app.
        new: name of the revision.
        before: who answered which share, in percent, before it was made; nobody where there was no app.
        now: the same, as this rollout has left it.
        told: the same, each time that this rollout has told Azure.
        sure: whether the last of these was carried out; if not, it may have failed, or may still happen.
        foreign: who answers which share, where somebody else has set it; else None.
    """

    app: App
    new: str
    before: Mapping[str, int]
    now: Mapping[str, int] = field(init=False)
    told: list[Mapping[str, int]] = field(init=False, default_factory=list)
    sure: bool = field(init=False, default=True)
    foreign: Mapping[str, int] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.now = self.before

    def untouched(self) -> Mapping[str, int]:
        """Return who answers which share, which is as this rollout has left it.

        Raises:
            ChangedError: it is not.
        """
        found = self.app.weights()
        if found != self.now:
            self.foreign = found
            raise ChangedError("the traffic is no longer as this deployment has left it")
        return found

    def set(self, wanted: Mapping[str, int]) -> None:
        """Let revisions answer so many percent each.

        Raises:
            AzError: it failed.
        """
        self.told.append(wanted)
        self.sure = False
        self.app.set_weights(wanted)
        self.now, self.sure = wanted, True

    def shift(self, share: int) -> None:
        """Let the new revision answer `share` percent, and the one before the rest.

        Raises:
            ChangedError: the traffic is not as this rollout has left it.
            AzError: it failed.
        """
        found = self.untouched()
        wanted = {name: 100 - share for name in self.before if share < 100 and name != self.new} | {self.new: share}
        if wanted != found:
            self.set(wanted)

    def watch(self, endpoint: Endpoint, minutes: float, most: float) -> tuple[int, int]:
        """Watch the new revision for a while, and return how many requests it has answered then and how many of them with 5xx.

        Args:
            endpoint: the revision by its own address.
            minutes: how long.
            most: share of failed requests, from which on it is not well.

        Raises:
            RedError: it is not well.
            AzError: Azure does not tell.
        """
        began = datetime.fromtimestamp(math.ceil(time.time() / COUNT) * COUNT, UTC)
        give_up = time.monotonic() + 60 * minutes
        while True:
            time.sleep(max(0.0, min(LOOK, give_up - time.monotonic())))
            asked, failed = self.app.requests(self.new, began)
            if asked >= FEWEST and failed > most * asked:
                raise RedError(f"{failed} of {asked} requests failed, more than {100 * most:g} %")
            if not smoke.well(endpoint):
                raise RedError("GET /health: it is no longer well")
            if time.monotonic() >= give_up:
                return asked, failed

    def put_back(self, again: str) -> str:
        """Let answer who did before, and switch the new revision off; return what state is left and what to type.

        Traffic that somebody else has changed stays.

        Args:
            again: the command that does the same by hand.
        """
        if not self.before:
            return f"no revision served before {self.new}, and what was made stays as it is"
        error: Exception | None = None
        for attempt in range(TRIES):
            if attempt:
                time.sleep(AGAIN * 4 ** (attempt - 1))
            try:
                return self._put_back()
            except az.AzError as failed:
                error = failed
        if self.foreign is not None:
            return (
                f"somebody else has set the traffic to {told(self.foreign)}, which stays; {self.new}, if it was made, may still run "
                f"({error})"
            )
        if self.sure and self.now == self.before:
            return (
                f"{told(self.before)} serves as before; {self.new}, if it was made, may still run, without traffic ({error}): "
                "the next deployment that succeeds switches it off; do not roll back"
            )
        unsure = "" if self.sure else f", or to {told(self.told[-1])}"
        return (
            f"this could not be put back either ({error}): the traffic was last set to {told(self.now)}{unsure}, "
            f"revision {self.new} may still run; when az works again, type: {again}"
        )

    def _put_back(self) -> str:
        found: Mapping[str, int] = self.app.weights()
        if found in (self.before, *self.told):
            self.foreign = None
            if found != self.before or not self.sure:
                self.set(self.before)
            found, serves = self.before, f"{told(self.before)} serves as before"
        else:
            self.foreign = found
            serves = f"somebody else has set it to {told(found)}, which stays"
        made = self.app.revision(self.new)
        if made is None:
            return f"{serves}, and {self.new} was not made, or appears later without traffic"
        if self.new in found:
            return f"{serves}, and {self.new} still runs"
        if made.active:
            self.app.deactivate(self.new)
        return f"{serves}, and {self.new} is switched off"


def carry_out(
    rollout: Rollout,
    endpoint: Endpoint,
    steps: list[int],
    minutes: float,
    most: float,
    still: Callable[[], None],
) -> None:
    """Shift the traffic in steps, and watch after each.

    Args:
        rollout: the new revision.
        endpoint: it by its own address.
        steps: its shares one after the other, in percent; the last is 100.
        minutes: of watching after each.
        most: share of requests that may fail.
        still: raises where the version must no longer be deployed.

    Raises:
        ChangedError: somebody else has changed the traffic.
        RedError: the revision is not well.
        AzError: Azure refused something, or does not tell.
    """
    for share in steps:
        still()
        rollout.shift(share)
        print(f"deploy: {rollout.new} answers {share} %; watching for {minutes:g} min", flush=True)
        asked, failed = rollout.watch(endpoint, minutes, most)
        judged = "" if asked >= FEWEST else ": too few to judge"
        print(f"deploy: {asked} requests, {failed} failed{judged}", flush=True)
    rollout.untouched()
