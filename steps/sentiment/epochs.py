"""The epochs of a training: the metric that chooses among them, when they end, and how they are told."""

import numpy as np

from steps.sentiment import tracking

#: The metric that chooses epochs and configurations.
OBJECTIVE = "epoch_validation_roc_auc"


def have_ended(history: list[dict[str, float]], patience: int) -> bool:
    """Return whether the last `patience` epochs brought no better validation ROC AUC."""
    aucs = [values[OBJECTIVE] for values in history]
    return bool(aucs) and len(aucs) - 1 - int(np.argmax(aucs)) >= patience


def tell(epoch: int, values: dict[str, float]) -> None:
    """Log an epoch, counted from 1, to the active run and print it."""
    tracking.log_epoch(epoch, values)
    print(
        f"epoch {epoch}: validation ROC AUC {values[OBJECTIVE]:.4f}, loss {values['train_loss']:.4f}, "
        f"{values['epoch_seconds']:.0f} s",
        flush=True,
    )
