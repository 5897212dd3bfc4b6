"""Searches the settings of the networks with keras-tuner, then trains the best on all rows: a candidate like any other.

    mlflow run . -e tune_keras --env-manager local -P embedding=fasttext -P trials=20
    python -m steps.tune_keras --search bayesian --architecture cnn,lstm --minutes 30

Every trial is a child run with its settings and the validation metrics of each epoch; the first is `train_keras` with its
defaults, to be beaten. Trials train on `search_rows` tweets: on 50,000, twenty take about ten minutes on two cores.
Validation chooses, the test split is not read. Killed, the same command goes on with the trial that was cut short.

Sources: Li et al. 2018 (Hyperband); Snoek, Larochelle and Adams 2012 (Bayesian optimisation with a Gaussian process).
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import keras_tuner
from keras_tuner.engine import base_tuner, trial
from tabulate import tabulate
from tqdm import tqdm

from steps.sentiment import command_line, keys, network_training, networks, tracking
from steps.sentiment.command_line import Flags, RefusedError, Values, integer, names, one_of, optional, positive_number
from steps.sentiment.network_training import Inputs
from steps.sentiment.networks import OBJECTIVE, Settings

SEARCHES = ("hyperband", "bayesian")
#: The name of the trial with the settings of `train_keras`.
DEFAULT = "default"


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("tune_keras", __doc__)
    network_training.input_flags(flags)
    flags.flag("search", "hyperband", ", ".join(SEARCHES), one_of(SEARCHES))
    everything = list(networks.ARCHITECTURES)
    flags.flag("architecture", ",".join(everything), "those to search among, separated by commas", names(everything))
    flags.flag("trials", "20", "at most", integer(1))
    flags.flag("minutes", "", "after which no further trial begins; default: no limit", optional(positive_number))
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
    """keras-tuner's loop over trials, each trained by `networks.fit` in a child run of MLflow."""

    def __init__(self, given: Values, data: Inputs, standard: Settings, key: str) -> None:
        """Take the flags, the rows of a trial, the default settings and the key of the checkpoints."""
        self._data, self._standard, self._key = data, standard, key
        self._deadline = time.monotonic() + 60 * given.minutes if given.minutes else None
        folder = network_training.checkpoint(key).folder
        super().__init__(oracle(given), directory=str(folder), project_name="search")
        self.oracle.verbose = 0
        self._bar = tqdm(total=given.trials, desc="trials", unit="trial", disable=None)
        self.rows = [self._try(DEFAULT, {})]
        for done in self.finished:  # before a kill: into this run too, from their checkpoints
            self.rows.append(self._try(done.trial_id, done.hyperparameters.values))
            self._bar.update()

    @property
    def finished(self) -> list[trial.Trial]:
        """The trials that ended well, in order."""
        return [self.oracle.trials[number] for number in self.oracle.end_order if self.oracle.trials[number].score]

    def settings(self, values: Mapping[str, Any]) -> Settings:
        """Return the settings of a trial from its hyperparameters; what is not searched is as in `train_keras`."""
        return replace(self._standard, **{name: value for name, value in values.items() if "/" not in name})

    def run_trial(self, trial: trial.Trial) -> dict[str, float]:
        """Train a trial and return its objective; keras-tuner calls this."""
        try:
            row = self._try(trial.trial_id, trial.hyperparameters.values)
        except RefusedError as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        except Exception as error:  # anything else must end the search, not count as a bad trial
            raise keras_tuner.errors.FatalError(str(error)) from error
        self.rows.append(row)
        return {OBJECTIVE: row[OBJECTIVE]}

    def on_trial_end(self, trial: trial.Trial) -> None:
        """Save the state of the search; after the deadline let no further trial begin."""
        super().on_trial_end(trial)
        self._bar.update()
        if self._deadline and time.monotonic() > self._deadline:
            self.oracle.max_trials = len(self.oracle.trials)

    def _try(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        settings = self.settings(values)
        until = values.get("tuner/epochs", settings.epochs)
        # Equal settings share a checkpoint: a trial that Hyperband lets go on does so from where it stopped.
        digest = hashlib.sha256(json.dumps(asdict(settings)).encode()).hexdigest()[:16]
        kept = network_training.checkpoint(f"{self._key}/{digest}")
        with tracking.trial(f"trial {name}", asdict(settings) | {"until_epoch": until}):

            def on_epoch(epoch: int, values: dict[str, float]) -> None:
                if epoch <= until:
                    tracking.log_epoch(epoch, values)

            _, history = networks.fit(
                self._data.embedding.vectors, self._data.train, self._data.validation, settings, kept, on_epoch, until
            )
            history = history[:until]
            best = max(epoch[OBJECTIVE] for epoch in history)
            seconds = sum(epoch["epoch_seconds"] for epoch in history)
            tracking.log_metrics({f"best_{OBJECTIVE}": best, "train_seconds": seconds})
        row = {"trial": name, OBJECTIVE: best, "epochs": len(history), "seconds": seconds} | {
            name: getattr(settings, name)
            for name in ("architecture", "units", "dropout", "learning_rate", "frozen_epochs")
        }
        print(", ".join(f"{key} {_shown(value)}" for key, value in row.items()), flush=True)
        return row


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def search(given: Values, data: Inputs, standard: Settings, key: str) -> tuple[Settings, list[dict[str, Any]]]:
    """Search and return the best settings, and a row per trial, the default first.

    Raises:
        RefusedError: three trials in a row diverged, or all did.
    """
    tuner = Search(given, data, standard, key)
    try:
        tuner.search()
    except keras_tuner.errors.FatalError as error:
        raise (error.__cause__ or error) from None
    except RuntimeError as error:  # keras-tuner's word for too many failures in a row
        raise RefusedError(f"the search failed: {str(error).splitlines()[-1]}") from error
    if not tuner.finished:
        raise RefusedError("no trial ended well; try a smaller space or more rows")
    best = max(tuner.finished, key=lambda one: one.score)
    return tuner.settings(best.hyperparameters.values), tuner.rows


def main(argv: list[str] | None = None) -> None:
    """Search, train the best on all rows, check and log it."""
    given = flags().read(argv)
    dataset = tracking.find_dataset(given.dataset)
    key = keys.step_key("tune_keras", given.texts, dataset.digest)
    with tracking.step("tune_keras", given.texts, dataset.digest):
        data = network_training.inputs(dataset, given, given.search_rows)
        rows = len(data.train.texts)
        standard = Settings(
            epochs=given.epochs,
            batch_size=network_training.batch_size(None, rows),
            frozen_epochs=network_training.frozen_epochs(None, given.embedding),
            seed=given.seed,
        )
        best, trials = search(given, data, standard, key)
        tracking.log_files({"trials.md": tabulate(trials, headers="keys", tablefmt="github", floatfmt=".5g") + "\n"})
        data = network_training.inputs(dataset, given, given.max_rows)
        settings = replace(best, batch_size=network_training.batch_size(None, len(data.train.texts)))
        kept = network_training.checkpoint(f"{key}/best")
        network, history = network_training.fit(data, settings, kept)
        seconds = sum(values["epoch_seconds"] for values in history)
        default, winner = trials[0][OBJECTIVE], max(row[OBJECTIVE] for row in trials[1:])
        facts = {
            "epochs_run": len(history),
            "trials": len(trials) - 1,
            "search_rows": rows,
            "search_seconds": sum(row["seconds"] for row in trials),
            "search_default_roc_auc": default,
            "search_best_roc_auc": winner,
        }
        name = f"{given.embedding} {settings.architecture} tuned"
        tracking.log_settings(asdict(settings))
        uri = network_training.log(network, name, data, dataset, facts, seconds)
        network_training.checkpoint(key).remove()
    print(
        f"tune_keras: {uri}, {name}: validation ROC AUC {winner:.4f} in the search, {default:.4f} by default; "
        f"{seconds:.1f} s on {len(data.train.texts):,} tweets"
    )


if __name__ == "__main__":
    command_line.run(main, "tune_keras")
