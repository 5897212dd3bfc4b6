"""A container app and its revisions, as az tells them: who answers which share, and how often that failed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from registry_scripts.azure import az
from steps.sentiment.command_line import InputError


@dataclass(frozen=True)
class Revision:
    """A revision of an app; `weight` is its share of the traffic in percent, `address` its own."""

    name: str
    created: datetime
    active: bool
    weight: int
    address: str
    version: str
    image: str
    state: str


@dataclass(frozen=True)
class App:
    """A container app by its name and resource group."""

    group: str
    name: str

    @property
    def _named(self) -> tuple[str, ...]:
        return ("--resource-group", self.group, "--name", self.name)

    def content(self) -> dict[str, Any] | None:
        """Return the resource as Azure has it, or None: there is none yet."""
        found = az.call("containerapp", "list", "--resource-group", self.group) or []
        return next((one for one in found if one["name"] == self.name), None)

    def revisions(self) -> list[Revision]:
        """Return all revisions, the oldest first."""
        found = az.call("containerapp", "revision", "list", *self._named, "--all")
        return sorted(map(_revision, found), key=lambda one: one.created)

    def revision(self, name: str) -> Revision | None:
        """Return the revision of this name, or None: there is none."""
        return next((one for one in self.revisions() if one.name == name), None)

    def weights(self) -> dict[str, int]:
        """Return the share of each revision that has one, in percent."""
        content = self.content()
        return weights_of(content) if content else {}

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """Let revisions answer so many percent each; any other gets nothing.

        Raises:
            AzError: it failed, or Azure says that it did otherwise.
        """
        shares = [f"{name}={weight}" for name, weight in {**dict.fromkeys(self.weights(), 0), **weights}.items()]
        az.call(
            "containerapp", "ingress", "traffic", "set", *self._named, "--revision-weight", *shares, seconds=az.CHANGE
        )
        found, wanted = self.weights(), {name: weight for name, weight in weights.items() if weight}
        if found != wanted:
            raise az.AzError(f"the traffic was set to {told(wanted)}, and is {told(found)}")

    def activate(self, revision: str) -> None:
        """Start an inactive revision."""
        az.call("containerapp", "revision", "activate", *self._named, "--revision", revision, seconds=az.CHANGE)

    def deactivate(self, revision: str) -> None:
        """Stop a revision; it stays, and can be activated again."""
        az.call("containerapp", "revision", "deactivate", *self._named, "--revision", revision, seconds=az.CHANGE)

    def requests(self, revision: str, since: datetime) -> tuple[int, int]:
        """Return how many requests a revision has answered since a moment, and how many of these with 5xx.

        Azure counts by the minute, and tells it a minute or two later; it takes no moment that is yet to come.
        """
        if since > datetime.now(UTC):
            return 0, 0
        content = self.content()
        if content is None:
            raise az.AzError(f"there is no app {self.name} any more")
        answer = az.call(
            "monitor", "metrics", "list", "--resource", content["id"], "--metric", "Requests", "--aggregation", "Total",
            "--interval", "PT1M", "--start-time", since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "--filter", f"revisionName eq '{revision}' and statusCodeCategory eq '*'",
        )  # fmt: skip
        counts: dict[str, int] = {}
        for metric in answer["value"]:
            for series in metric["timeseries"]:
                names = {one["name"]["value"].lower(): one["value"] for one in series["metadatavalues"]}
                category = names.get("statuscodecategory", "")
                counts[category] = counts.get(category, 0) + int(sum(one.get("total") or 0 for one in series["data"]))
        return sum(counts.values()), counts.get("5xx", 0)


def weights_of(content: Mapping[str, Any]) -> dict[str, int]:
    """Return the share of each revision that has one, in percent, of an app as Azure has it."""
    found: dict[str, int] = {}
    properties = content["properties"]
    for one in properties["configuration"]["ingress"].get("traffic") or []:
        name = properties.get("latestRevisionName") if one.get("latestRevision") else one["revisionName"]
        if name and (weight := int(one.get("weight") or 0)):  # a first revision that was never well has no name yet
            found[name] = found.get(name, 0) + weight
    return found


def has_served(content: Mapping[str, Any] | None) -> set[str]:
    """Return the revisions that an app's traffic names, those of nothing too: all that had a share since the last deployment."""
    traffic = content["properties"]["configuration"]["ingress"].get("traffic") if content else None
    return {one.get("revisionName", "") for one in traffic or []}


def to_go_back_to(revisions: Sequence[Revision], served: Collection[str], named: str) -> Revision:
    """Return the revision to go back to.

    Where the traffic is shared that is the older one: a deployment was cut short. Else it is the newest that still runs among those
    older than the one that serves; where there is none, the newest that has served after it. One that a deployment has
    made and never given any traffic is none of these.

    Args:
        revisions: all, the oldest first.
        served: those that had traffic.
        named: by a person, or an empty text.

    Raises:
        InputError: there is none.
    """
    serving = [one for one in revisions if one.weight]
    if named:
        candidates = [one for one in revisions if one.name == named]
    elif len(serving) > 1:
        candidates = serving[:1]
    else:
        others = [one for one in revisions if one.active and not one.weight]
        older = [one for one in others if not serving or one.created < serving[0].created]
        candidates = older or [one for one in others if one.name in served]
    if not candidates:
        allowed = ", ".join(one.name for one in revisions if one.weight < 100) or "none: no other revision is there"
        raise InputError(f"--revision: got {named!r}; allowed: {allowed}")
    return candidates[-1]


def told(weights: Mapping[str, int]) -> str:
    """Return shares for a person to read, and as az takes them."""
    return " ".join(f"{name}={weight}" for name, weight in weights.items()) or "nobody"


def _revision(content: Mapping[str, Any]) -> Revision:
    properties = content["properties"]
    container = properties["template"]["containers"][0]
    env = {one["name"]: one.get("value", "") for one in container.get("env") or []}
    return Revision(
        name=content["name"],
        created=datetime.fromisoformat(properties["createdTime"]),
        active=bool(properties["active"]),
        weight=int(properties.get("trafficWeight") or 0),
        address=f"https://{properties['fqdn']}",
        version=env.get("MODEL_VERSION", ""),
        image=container["image"],
        state=properties.get("runningState") or properties.get("healthState") or "",
    )
