"""Shows the registered versions: aliases, stage, family, data, and the last decision about each.

mlflow run . -e versions --env-manager local
python -m registry_scripts.versions
"""

from datetime import UTC, datetime

from tabulate import tabulate

from registry_scripts.registry import aliases
from steps.sentiment import command_line, registry
from steps.sentiment.command_line import Flags


def flags() -> Flags:
    """Return the flags of this script: none."""
    return Flags("versions", __doc__)


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    flags().read(argv)
    aliases.resume("versions")
    rows = [
        {
            "version": version.number,
            "aliases": ", ".join(version.aliases),
            "stage": version.stage,
            "family": version.tags.get("family", ""),
            "dataset": version.tags.get("dataset_digest", ""),
            "registered": datetime.fromtimestamp(version.created / 1000, UTC).isoformat(timespec="seconds"),
            "decided": version.tags.get("decided_at", ""),
            "decision": version.tags.get("decision", ""),
        }
        for version in registry.versions().values()
    ]
    if not rows:
        print(f"versions: no version of {registry.MODEL} is registered yet")
        return
    print(tabulate(rows, headers="keys", tablefmt="simple", maxcolwidths=[None] * 7 + [60]))


if __name__ == "__main__":
    command_line.run(main, "versions")
