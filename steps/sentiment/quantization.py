"""From a transformer's plain ONNX to what is served: fused by onnxruntime's optimizer, then in eight bits where that costs little.

Weights become int8, a scale for each output channel; activations become uint8 while the model runs, a scale for each tensor
(dynamic quantisation; Jacob et al. 2018; onnxruntime's documentation, "Quantize ONNX models").
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from sklearn.metrics import roc_auc_score

from steps.sentiment.model import TransformerScorer, in_chunks, sigmoid

ONNX = "model.onnx"


def fuse(exported: Path, fused: Path, heads: int, width: int) -> None:
    """Fuse attention, layer norms and GELU of an exported encoder with so many `heads` of attention and hidden `width`.

    Raises:
        RuntimeError: there is no attention to be fused: serving it would be several times slower.
    """
    options = FusionOptions("bert")
    model = optimizer.optimize_model(str(exported), "bert", heads, width, options, opt_level=0)
    if not model.get_fused_operator_statistics()["Attention"]:
        raise RuntimeError("onnxruntime's optimizer found no attention in the exported encoder")
    model.save_model_to_file(str(fused))


def quantize(fused: Path, quantized: Path) -> None:
    """Quantise a fused encoder: weights int8 per channel, activations uint8 per tensor."""
    quantize_dynamic(
        fused,
        quantized,
        per_channel=True,
        weight_type=QuantType.QInt8,
        # What onnxruntime's own operators answer is unknown to ONNX.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def logits(folder: Path, settings: dict[str, Any], texts: list[str]) -> np.ndarray:
    """Return what the files in `folder` answer when served: logits of shape (n_texts,)."""
    return in_chunks(TransformerScorer(folder, settings), texts)[0]


def loss(labels: np.ndarray, full: np.ndarray, quantized: np.ndarray) -> dict[str, float]:
    """Return what quantisation costs, from the logits in full precision and quantised, each of shape (n,)."""
    return {
        "quantization_accuracy_loss": float(((full > 0) == labels).mean() - ((quantized > 0) == labels).mean()),
        "quantization_roc_auc_loss": float(roc_auc_score(labels, full) - roc_auc_score(labels, quantized)),
        "quantization_flipped_share": float(((full > 0) != (quantized > 0)).mean()),
        "quantization_max_score_difference": float(np.abs(sigmoid(full) - sigmoid(quantized)).max()),
    }
