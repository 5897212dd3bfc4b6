"""Lets a new revision take over step by step, watched, and puts everything back as it was."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from registry_scripts.azure import az, smoke
from registry_scripts.azure.container_app import App, told
from registry_scripts.azure.smoke import Endpoint, RedError

#: Requests below which a share of failures says nothing.
FEWEST = 20
#: Seconds between two looks at a revision that is watched, at most, and between two tries to put things back.
LOOK, AGAIN = 30.0, 2.0
TRIES = 3


class ChangedError(Exception):
    """Somebody else has changed the traffic in the meantime, or what is to be deployed. The message says to what."""


@dataclass
class Rollout:
    """A new revision beside the one that serves.

    Args:
        app: the container app.
        new: name of the revision.
        before: who answered which share, in percent, before it was made; nobody where there was no app.
        now: the same, as this rollout has left it.
    """

    app: App
    new: str
    before: Mapping[str, int]
    now: Mapping[str, int]

    def shift(self, share: int) -> None:
        """Let the new revision answer `share` percent, and the one before the rest.

        Raises:
            ChangedError: the traffic is not as this rollout has left it.
            AzError: it failed.
        """
        found = self.app.weights()
        if found != self.now:
            raise ChangedError(f"the traffic was changed by somebody else to {told(found)}")
        wanted = {name: 100 - share for name in self.before if share < 100 and name != self.new} | {self.new: share}
        if wanted != found:
            self.app.set_weights(wanted)
        self.now = wanted

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
        began, give_up = datetime.now(UTC), time.monotonic() + 60 * minutes
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

        Args:
            again: the command that does the same by hand.
        """
        if not self.before:
            return f"no revision served before {self.new}, and it stays as it is"
        error: Exception | None = None
        for attempt in range(TRIES):
            if attempt:
                time.sleep(AGAIN)
            try:
                left = "is switched off" if self._put_back() else "was not made, or appears later without traffic"
                return f"{told(self.before)} serves as before, and {self.new} {left}"
            except az.AzError as failed:
                error = failed
        return (
            f"this could not be put back either ({error}): the traffic was last set to {told(self.now)}, "
            f"revision {self.new} may still run; when az works again, type: {again}"
        )

    def _put_back(self) -> bool:
        # Returns whether there is a new revision.
        if self.app.weights() != self.before:
            self.app.set_weights(self.before)
        self.now = self.before
        made = next((one for one in self.app.revisions() if one.name == self.new), None)
        if made and made.active:
            self.app.deactivate(self.new)
        return made is not None


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
    """
    for share in steps:
        still()
        rollout.shift(share)
        print(f"deploy: {rollout.new} answers {share} %; watching for {minutes:g} min", flush=True)
        asked, failed = rollout.watch(endpoint, minutes, most)
        judged = "" if asked >= FEWEST else ": too few to judge"
        print(f"deploy: {asked} requests, {failed} failed{judged}", flush=True)
