"""What an endpoint told of its answers -> whether it still is as it was on the model's validation tweets.

    mlflow run . -e monitor --env-manager local -P events=captured.jsonl
    python -m steps.monitor --events monday.jsonl.gz,tuesday.jsonl.gz --model models:/tweet-sentiment/3
    python -m steps.monitor --workspace 00000000-0000-0000-0000-000000000000 --hours 168

Reads captured envelopes (files of lines, each an envelope or an array of them), or asks a Log Analytics workspace or an Application
Insights resource; signs in to these as azure-identity does (environment, managed identity, `az login`). Compares lengths, mentions,
links, emoji, capitals, scores, unsure answers, and where the answers lie that people called wrong, with the profile of the model.
Leaves `drift.html` and `drift.json` in a finished run, and ends with exit code 1 when something drifted. Needs 500 predictions;
a million events take less than a minute.
"""

import hashlib
import json
import sys

from steps.sentiment import command_line, drift, drift_page, model_folder, registry, told, tracking
from steps.sentiment.command_line import Flags, positive_number, something
from steps.sentiment.events import Gathering


def level(text: str) -> float:
    """Read how often an undrifted stream may raise drift: a share above 0 and below 1."""
    value = command_line.fraction(text)
    if not value:
        raise ValueError("a number above 0 and below 1")
    return value


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("monitor", __doc__)
    told.add_flags(flags)
    flags.flag(
        "model",
        registry.uri(registry.CHAMPION),
        "whose profile: models:/<name>@<alias>, models:/<name>/<version>, or a folder",
        something,
    )
    flags.flag("level", "0.01", "how often an undrifted stream may raise drift", level)
    flags.flag(
        "psi", str(drift.MODERATE), "population stability index below which a difference is no drift", positive_number
    )
    return flags


def main(argv: list[str] | None = None) -> None:
    """Compare and log; exit with 1 when something drifted."""
    given = flags().read(argv)
    version, profile = model_folder.profile(given.model)
    gathering = Gathering()
    told.gather(given, gathering)
    result = drift.judge(profile, version, gathering.events(), given.level, given.psi)
    content = json.dumps(result.as_dict(), indent=1)
    with tracking.step("monitor", given.texts, hashlib.sha256(content.encode()).hexdigest()[:16]) as run:
        tracking.log_settings({"model_version": version})
        measured = {"predictions": float(result.predictions), "judged_wrong": float(result.wrong)}
        for one in result.findings:
            name = one.feature.replace(" ", "_")
            measured |= {f"psi_{name}": one.psi, f"p_{name}": one.p_value}
        tracking.log_metrics(measured | {"drifted": float(len(result.drifted))})
        tracking.log_files({drift_page.PAGE: drift_page.render(result), drift_page.RESULT: content})
    found = ", ".join(f"{one.feature} (PSI {one.psi:.2f}, p {one.p_value:.1g})" for one in result.drifted)
    print(
        f"monitor: {result.predictions:,} predictions of version {version}, {result.wrong:,} called wrong: "
        f"{f'drifted: {found}' if found else 'nothing drifted'}; runs:/{run.info.run_id}/{drift_page.PAGE}"
    )
    if found:
        sys.exit(1)


if __name__ == "__main__":
    command_line.run(main, "monitor")
