"""Searches the settings of the networks with keras-tuner, then trains the best on all rows: a candidate like any other.

    mlflow run . -e tune_keras --env-manager local -P embedding=fasttext -P trials=20
    python -m steps.tune_keras --search bayesian --architecture cnn,lstm --minutes 30

Every trial is a child run with its settings and the validation metrics of each epoch; the first is `train_keras` with its
defaults, to be beaten. A trial that Hyperband lets go on for more epochs counts as another. Trials train on `search_rows`
tweets: on 50,000, twenty take about ten minutes on two cores, and until the end 2 GB in `data/processed/checkpoints/`.
Validation chooses, the test split is not read. Killed, the same command goes on with the trial that was cut short.

Sources: Li et al. 2018 (Hyperband); Snoek, Larochelle and Adams 2012 (Bayesian optimisation with a Gaussian process).
"""

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras_tuner
from keras_tuner.engine import base_tuner, trial
from tabulate import tabulate

from steps.sentiment import command_line, keys, network_training, networks, tracking
from steps.sentiment.command_line import (
    Flags,
    RefusedError,
    Values,
    integer,
    names,
    one_of,
    optional,
    positive_number,
    progress,
)
from steps.sentiment.network_training import Inputs
from steps.sentiment.networks import OBJECTIVE, Settings

SEARCHES = ("hyperband", "bayesian")
#: The name of the trial with the settings of `train_keras`.
DEFAULT = "default"
SEARCHED = ("architecture", "units", "dropout", "learning_rate", "frozen_epochs")


@dataclass(frozen=True)
class Tried:
    """A trial that got through: its best validation ROC AUC, the epochs and the seconds that it took."""

    name: str
    settings: Settings
    objective: float
    epochs: int
    seconds: float


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("tune_keras", __doc__)
    network_training.input_flags(flags)
    flags.flag("search", "hyperband", ", ".join(SEARCHES), one_of(SEARCHES))
    everything = list(networks.ARCHITECTURES)
    flags.flag("architecture", ",".join(everything), "those to search among, separated by commas", names(everything))
    flags.flag("trials", "20", "at most", integer(1))
    flags.flag(
        "minutes",
        "",
        "of the search (after a kill: anew) after which no further trial begins; default: no limit",
        optional(positive_number),
    )
    flags.flag("search_rows", "50000", "training rows of a trial", integer(1))
    flags.flag("epochs", str(Settings.epochs), "at most, of a trial and of the best on all rows", integer(1))
    return flags


def space(architectures: list[str], embedding: str) -> keras_tuner.HyperParameters:
    """Return what is searched; the batch size follows from the number of rows."""
    space = keras_tuner.HyperParameters()
    space.Choice("architecture", architectures)
    space.Choice("units", [64, 96, 128, 192], default=128)
    space.Choice("dropout", [0.1, 0.2, 0.3, 0.4, 0.5], default=0.3)
    space.Float("learning_rate", 5e-4, 8e-3, sampling="log", default=1e-3)
    if embedding != "learned":
        space.Choice("frozen_epochs", [0, 1], default=1)
    return space


def oracle(given: Values) -> keras_tuner.Oracle:
    """Return the strategy of the search."""
    common = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "hyperparameters": space(given.architecture, given.embedding),
        "seed": given.seed + 1,  # keras-tuner takes 0 as "at random"
    }
    if given.search == "bayesian":
        return keras_tuner.oracles.BayesianOptimizationOracle(max_trials=given.trials, **common)
    found = keras_tuner.oracles.HyperbandOracle(
        max_epochs=given.epochs, factor=3, hyperband_iterations=given.trials, **common
    )
    found.max_trials = given.trials  # its own limit is in rounds
    return found


class Search(base_tuner.BaseTuner):
    """keras-tuner's loop over trials, each trained by `networks.fit` in a child run of MLflow.

    keras-tuner's own state is not read back after a kill: an equal seed proposes the same trials again, and those that
    were finished come from their checkpoints at once.
    """

    def __init__(self, given: Values, data: Inputs, standard: Settings, key: str) -> None:
        """Take the flags, the rows of a trial, the default settings and the key of the checkpoints."""
        self._data, self._standard, self._key = data, standard, key
        self._deadline = time.monotonic() + 60 * given.minutes if given.minutes else math.inf
        folder = network_training.checkpoint(key).folder
        super().__init__(oracle(given), directory=str(folder), project_name="search", overwrite=True)
        self.oracle.verbose = 0
        self._bar = progress(total=given.trials, desc="trials", unit="trial")
        self.trials = [Tried(DEFAULT, standard, *self._fit(DEFAULT, standard, standard.epochs))]

    def run_trial(self, trial: trial.Trial) -> dict[str, float]:
        """Train a trial and return its objective; keras-tuner calls this."""
        values = trial.hyperparameters.values
        found = {name: value for name, value in values.items() if "/" not in name}  # the others are Hyperband's own
        settings = replace(self._standard, **found)
        try:
            history = self._fit(trial.trial_id, settings, values.get("tuner/epochs", settings.epochs))
        except RefusedError as error:
            print(f"trial {trial.trial_id}: {error}", flush=True)
            return {OBJECTIVE: 0.0}
        except Exception as error:  # anything else must end the search, not count as a bad trial
            raise keras_tuner.errors.FatalError(str(error)) from error
        self.trials.append(Tried(trial.trial_id, settings, *history))
        return {OBJECTIVE: self.trials[-1].objective}

    def on_trial_end(self, trial: trial.Trial) -> None:
        """After the deadline let no further trial begin."""
        super().on_trial_end(trial)
        self._bar.update()
        if time.monotonic() > self._deadline:
            self.oracle.max_trials = len(self.oracle.trials)

    def on_search_end(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def _fit(self, name: str, settings: Settings, until: int) -> tuple[float, int, float]:
        # Equal settings share a checkpoint: a trial that Hyperband lets go on does so from where it stopped.
        digest = hashlib.sha256(json.dumps(asdict(settings)).encode()).hexdigest()[:16]
        kept = network_training.checkpoint(f"{self._key}/{digest}")

        def on_epoch(epoch: int, values: dict[str, float]) -> None:
            if epoch <= until:
                tracking.log_epoch(epoch, values)

        with tracking.trial(f"trial {name}", asdict(settings) | {"until_epoch": until}):
            rows = (self._data.embedding.vectors, self._data.train, self._data.validation)
            _, history = networks.fit(*rows, settings, kept, on_epoch, until)
            history = history[:until]
            best = max(epoch[OBJECTIVE] for epoch in history)
            seconds = sum(epoch["epoch_seconds"] for epoch in history)
            tracking.log_metrics({f"best_{OBJECTIVE}": best, "train_seconds": seconds})
        shown = ", ".join(f"{key} {_shown(getattr(settings, key))}" for key in SEARCHED)
        print(
            f"trial {name}: validation ROC AUC {best:.4f} after {len(history)} epochs, {seconds:.0f} s: {shown}",
            flush=True,
        )
        return best, len(history), seconds


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def search(given: Values, data: Inputs, standard: Settings, key: str) -> list[Tried]:
    """Search and return what was tried, the default first.

    Raises:
        RefusedError: no trial got through.
    """
    tuner = Search(given, data, standard, key)
    try:
        tuner.search()
    except keras_tuner.errors.FatalError as error:
        raise (error.__cause__ or error) from None
    if len(tuner.trials) == 1:
        raise RefusedError("every trial diverged; try other seeds, more rows or other word vectors")
    return tuner.trials


def main(argv: list[str] | None = None) -> None:
    """Search, train the best on all rows, check and log it."""
    given = flags().read(argv)
    dataset = tracking.find_dataset(given.dataset)
    read = network_training.data_key(dataset, given)
    # The budget is in no checkpoint's key: a longer search goes on where a shorter one was killed.
    key = keys.step_key("tune_keras", {**given.texts, "trials": "", "minutes": ""}, read)
    with tracking.step("tune_keras", given.texts, read):
        data = network_training.inputs(dataset, given, given.search_rows)
        rows = len(data.train.texts)
        trials = search(given, data, default(given, rows), key)
        tracking.log_files({"trials.md": table(trials)})
        best = max(trials, key=lambda tried: tried.objective)
        data = network_training.inputs(dataset, given, given.max_rows)
        settings = replace(best.settings, batch_size=network_training.batch_size(None, len(data.train.texts)))
        network, history = network_training.fit(data, settings, network_training.checkpoint(f"{key}/best"))
        seconds = sum(values["epoch_seconds"] for values in history)
        facts = {
            "epochs_run": len(history),
            "trials": len(trials) - 1,
            "search_rows": rows,
            "search_seconds": sum(tried.seconds for tried in trials),
            "search_default_roc_auc": trials[0].objective,
            "search_best_roc_auc": best.objective,
        }
        name = f"{given.embedding} {settings.architecture} tuned"
        tracking.log_settings(asdict(settings))
        uri = network_training.log(network, name, data, dataset, facts, seconds)
        network_training.checkpoint(key).remove()
    print(
        f"tune_keras: {uri}, {name}: validation ROC AUC {best.objective:.4f} in the search, {trials[0].objective:.4f} by default; "
        f"{seconds:.1f} s on {len(data.train.texts):,} tweets"
    )


def default(given: Values, rows: int) -> Settings:
    """Return the settings of `train_keras` for `rows` tweets, with the first of the architectures if its own is not searched."""
    architecture = Settings.architecture if Settings.architecture in given.architecture else given.architecture[0]
    return Settings(
        architecture,
        epochs=given.epochs,
        batch_size=network_training.batch_size(None, rows),
        frozen_epochs=network_training.frozen_epochs(None, given.embedding),
        seed=given.seed,
    )


def table(trials: list[Tried]) -> str:
    """Return what was tried in Markdown."""
    rows = [
        {"trial": tried.name, OBJECTIVE: tried.objective, "epochs": tried.epochs, "seconds": tried.seconds}
        | {name: getattr(tried.settings, name) for name in SEARCHED}
        for tried in trials
    ]
    return tabulate(rows, headers="keys", tablefmt="github", floatfmt=".5g") + "\n"


if __name__ == "__main__":
    command_line.run(main, "tune_keras")
