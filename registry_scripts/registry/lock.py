"""The lock that lets one command at a time write the registry, and another kind that lets one deploy.

MLflow has no compare-and-set, but it creates a registered model together with its tags in one atomic call. So a lock is a
registered model under a name that nobody else ever uses, with owner and expiry as tags. Who wants to write creates one
and then looks at all there are: whoever looks last sees the other, so of two at once never both go on. Both may step back;
each tries again after a moment of its own.

A lock that has expired is simply not counted any more, however many find it at once, and who holds the next one sweeps
it away. Since no name is used twice, a deletion that comes late, or that a client sends again because the
answer was lost, can never take another's lock away. The holder stops writing well before its lock expires.
"""

import getpass
import random
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from steps.sentiment import registry
from steps.sentiment.command_line import RefusedError, unreachable

PREFIX = f"{registry.MODEL}-lock-"
#: How long a lock is good for; a command takes seconds. Its holder writes nothing in the last part of it (slow calls, clocks).
LIFE, GUARD = timedelta(seconds=120), timedelta(seconds=20)
#: Seconds that a second writer waits for the first.
PATIENCE = 20.0
DESCRIPTION = (
    "Not a model: while it is here, one command is {doing} (its tags tell who, which and until when), and any other "
    "waits. It goes when the command ends; after its expiry it counts no more, and the next command sweeps it away."
)


@dataclass(frozen=True)
class Kind:
    """What one command at a time does: the names of its locks begin with `prefix`, and each is good for `life`."""

    doing: str
    prefix: str
    life: timedelta


REGISTRY = Kind("writing the registry", PREFIX, LIFE)
#: A deployment builds an image and watches its steps; promotions go on meanwhile.
DEPLOYMENT = Kind("deploying", f"{registry.MODEL}-deployment-", timedelta(hours=2))


class BusyError(RefusedError):
    """Another command does the same. The message names its owner and since when."""


@dataclass(frozen=True)
class Lock:
    """The right to write the registry until `expires`."""

    command: str
    name: str
    expires: datetime

    @property
    def client(self) -> MlflowClient:
        """What the registry is written with; each write asks for it anew.

        Raises:
            RefusedError: the lock is about to expire.
        """
        if datetime.now(UTC) > self.expires - GUARD:
            raise RefusedError(
                f"took longer than {(LIFE - GUARD).seconds} s and may write no more; run it again: what it began is finished then"
            )
        return MlflowClient()


def person() -> str:
    """Return who runs this, as user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


@contextmanager
def held(command: str, patience: float = PATIENCE, kind: Kind = REGISTRY) -> Iterator[Lock]:
    """Hold the lock of a kind for a command; wait for another's for `patience` seconds.

    Raises:
        BusyError: the other has not ended by then.
    """
    give_up = time.monotonic() + patience
    while True:
        other = _other(kind)
        if other is None:
            with _announced(command, kind) as ours:
                other = _other(kind, ours.name)
                if other is None:
                    _sweep(kind)
                    yield ours
                    return
        if time.monotonic() >= give_up:
            raise BusyError(
                f"{other['owner']} has been {kind.doing} since {other['since']} ({other['command']}); try again "
                f"when that has ended, or after {other['expires']}: then its lock, {other['name']}, counts no more"
            )
        time.sleep(random.uniform(0.05, 0.4))


@contextmanager
def _announced(command: str, kind: Kind = REGISTRY) -> Iterator[Lock]:
    # A lock that is there for the others to see, as long as this lasts.
    now = datetime.now(UTC)
    ours = Lock(command, kind.prefix + uuid.uuid4().hex, now + kind.life)
    tags = {
        "owner": person(),
        "command": command,
        "since": now.isoformat(timespec="seconds"),
        "expires": ours.expires.isoformat(timespec="seconds"),
    }
    lost = False
    try:
        MlflowClient().create_registered_model(ours.name, tags, DESCRIPTION.format(doing=kind.doing))
        yield ours
    except MlflowException as error:
        lost = unreachable(error)
        raise
    finally:
        if (
            not lost
        ):  # a server that does not answer takes nothing back, and would be asked for minutes; the lock expires
            with suppress(MlflowException):
                MlflowClient().delete_registered_model(ours.name)


def _locks(kind: Kind) -> dict[str, dict[str, str]]:
    found = MlflowClient().search_registered_models(f"name LIKE '{kind.prefix}%'")
    return {model.name: dict(model.tags) for model in found if "expires" in model.tags}


def _counts(tags: dict[str, str]) -> bool:
    return datetime.fromisoformat(tags["expires"]) > datetime.now(UTC)


def _other(kind: Kind, ours: str = "") -> dict[str, str] | None:
    # The name and the tags of a lock that counts and is not ours.
    return next(({"name": name, **tags} for name, tags in _locks(kind).items() if name != ours and _counts(tags)), None)


def _sweep(kind: Kind) -> None:
    # What is left of commands that died; two may find it at once.
    for name, tags in _locks(kind).items():
        if not _counts(tags):
            with suppress(MlflowException):
                MlflowClient().delete_registered_model(name)
