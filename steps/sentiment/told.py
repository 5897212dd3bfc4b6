"""Where the events of an endpoint are read from: captured files, a Log Analytics workspace, or an Application Insights resource."""

from collections.abc import Sequence
from pathlib import Path

from steps.sentiment import events
from steps.sentiment.command_line import Flags, InputError, Values, like, positive_number, words
from steps.sentiment.events import Gatherer

WORKSPACE = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
RESOURCE = r"(?i)/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/microsoft\.insights/components/[^/\s]+"


def add_flags(flags: Flags) -> None:
    """Add the flags that name where events are."""
    flags.flag("events", "", "files of captured envelopes, separated by commas", words)
    flags.flag("workspace", "", "id of a Log Analytics workspace to ask", like(WORKSPACE, "its id, a UUID"))
    flags.flag(
        "resource",
        "",
        "id of an Application Insights resource to ask",
        like(RESOURCE, "/subscriptions/.../resourceGroups/.../providers/microsoft.insights/components/..."),
    )
    flags.flag("hours", "24", "how far back to ask a workspace or a resource", positive_number)


def gather(given: Values, into: Gatherer, more: Sequence[str] = ()) -> None:
    """Read the events from the one place that the flags name.

    Args:
        given: with the flags of `add_flags`.
        into: what takes the events.
        more: texts of an event to ask Azure for, beside those that each carries; a file has them all.

    Raises:
        InputError: the flags name no place or several, or it cannot be read.
    """
    named = [name for name in ("events", "workspace", "resource") if getattr(given, name)]
    if len(named) != 1:
        raise InputError(f"events, workspace, resource: got {', '.join(named) or 'none of them'}; allowed: exactly one")
    if given.events:
        events.gather([Path(name) for name in given.events], into)
        return
    from steps.sentiment import log_analytics  # noqa: PLC0415 - who reads files needs no client of Azure's

    log_analytics.gather((given.workspace, given.resource, given.hours), into, more)
