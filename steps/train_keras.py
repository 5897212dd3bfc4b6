"""Family `keras`: a network over word vectors, served by onnxruntime without TensorFlow.

    mlflow run . -e train_keras --env-manager local -P embedding=word2vec -P architecture=bilstm
    python -m steps.train_keras --embedding fasttext --architecture cnn --max_rows 100000

Any embedding (learned, word2vec, fasttext, glove, minilm) with any architecture (average, cnn, lstm, bilstm). Word vectors
are learned from the training split alone, once per dataset. Validation chooses the epoch. Killed, the same command goes
on after the last finished epoch. On two cores an epoch of 100,000 tweets takes ten seconds (average) to one minute
(bilstm); vectors from 1.5 million tweets take ten minutes, once, and 2 GiB. Leaves a finished run with the model (ONNX and
tokenizer), the `.keras` file, metrics of each epoch and figures.
"""

from steps.sentiment import command_line, keys, network_training, networks, tracking
from steps.sentiment.command_line import Flags, Values, fraction, integer, one_of, positive_number
from steps.sentiment.networks import Settings

#: The smallest honest settings: the contract test and the continuous integration train with them.
SMOKE_PARAMETERS = {
    "embedding": "learned",
    "architecture": "average",
    "frozen_epochs": "0",
    "epochs": "8",
    "batch_size": "32",
}


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("train_keras", __doc__)
    network_training.input_flags(flags)
    standard = Settings()
    flags.flag("architecture", standard.architecture, ", ".join(networks.ARCHITECTURES), one_of(networks.ARCHITECTURES))
    flags.flag(
        "units",
        str(standard.units),
        "of the hidden layer, each convolution or each direction of the LSTM",
        integer(1, 8192),
    )
    flags.flag("dropout", str(standard.dropout), "share of the features dropped in training", fraction)
    flags.flag("learning_rate", str(standard.learning_rate), "the highest, of Adam", positive_number)
    flags.flag(
        "batch_size",
        "",
        "tweets in a step; default: a hundredth of the training rows, from 32 to 512",
        command_line.optional(integer(1)),
    )
    flags.flag("epochs", str(standard.epochs), "at most", integer(1))
    flags.flag(
        "frozen_epochs",
        "",
        "first epochs with fixed word vectors; default: 1, and 0 with learned",
        command_line.optional(integer()),
    )
    flags.flag(
        "patience", str(standard.patience), "epochs without a better validation ROC AUC before it ends", integer(1)
    )
    return flags


def settings(given: Values, rows: int) -> Settings:
    """Return the network and the training on `rows` tweets that the flags describe."""
    return Settings(
        given.architecture,
        given.units,
        given.dropout,
        given.learning_rate,
        network_training.batch_size(given.batch_size, rows),
        given.epochs,
        network_training.frozen_epochs(given.frozen_epochs, given.embedding),
        given.patience,
        given.seed,
    )


def main(argv: list[str] | None = None) -> None:
    """Train, check and log a network."""
    given = flags().read(argv)
    dataset = tracking.find_dataset(given.dataset)
    name = f"{given.embedding} {given.architecture}"
    network_training.frozen_epochs(given.frozen_epochs, given.embedding)  # a wrong one ends here, before there is a run
    read = network_training.data_key(dataset, given)
    with tracking.step("train_keras", given.texts, read, name):
        data = network_training.inputs(dataset, given, given.max_rows)
        kept = network_training.checkpoint(keys.step_key("train_keras", given.texts, read))
        network, history = network_training.fit(data, settings(given, len(data.train.texts)), kept)
        seconds = sum(values["epoch_seconds"] for values in history)  # also those before a kill
        uri = network_training.log(network, name, data, dataset, {"epochs_run": len(history)}, seconds)
        kept.remove()
    print(f"train_keras: {uri}, {name}, {seconds:.1f} s on {len(data.train.texts):,} tweets")


if __name__ == "__main__":
    command_line.run(main, "train_keras")
