"""From a transformer's plain ONNX to what is served: fused by onnxruntime's optimizer, then in eight bits.

The weights of every matrix product become int8 in blocks of 128 or 256, each with a scale; the other factor is rounded to eight bits
while the model runs, in the same blocks of each row. So the rows of a batch do not touch: the usual dynamic quantisation has one
scale for a whole tensor, and moves a score by what else is in the batch (docs/log.md). Source: onnxruntime's documentation,
"Quantize ONNX models", and of the operator MatMulNBits; Dettmers et al. 2022 on scales by row.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from sklearn.metrics import roc_auc_score

from steps.sentiment.model import TransformerScorer, in_chunks, sigmoid

#: Weights that share a scale: as many as divide the rows of a product. What is left over of a block costs more than it saves.
BLOCKS = (256, 128)
#: MatMulNBits: the other factor in eight bits, too.
EIGHT_BITS = 4


def fuse(exported: Path, fused: Path, heads: int, width: int) -> None:
    """Fuse attention, layer norms and GELU of an exported encoder with so many `heads` of attention and hidden `width`.

    Raises:
        RuntimeError: there is no attention to be fused: serving it would be several times slower.
    """
    options = FusionOptions("bert")
    options.use_multi_head_attention = True  # leaves the products before it to be quantised like all others
    with _quiet():
        model = optimizer.optimize_model(str(exported), "bert", heads, width, options, opt_level=0)
        if not model.get_fused_operator_statistics()["MultiHeadAttention"]:
            raise RuntimeError("onnxruntime's optimizer found no attention in the exported encoder")
        _split_sums_and_norms(model.model.graph)
        model.save_model_to_file(str(fused))


def _split_sums_and_norms(graph: onnx.GraphProto) -> None:
    # On a processor onnxruntime's fused sum and layer norm takes three times as long as its two sums and its layer norm.
    nodes = []
    for node in graph.node:
        if node.op_type != "SkipLayerNormalization":
            nodes.append(node)
            continue
        states, skipped, scale, shift, bias = node.input
        first, second = f"{node.name}_biased", f"{node.name}_sum"
        epsilon = next(attribute.f for attribute in node.attribute if attribute.name == "epsilon")
        nodes += [
            onnx.helper.make_node("Add", [states, bias], [first], first),
            onnx.helper.make_node("Add", [first, skipped], [second], second),
            onnx.helper.make_node(
                "LayerNormalization", [second, scale, shift], node.output[:1], f"{node.name}_norm", epsilon=epsilon
            ),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def quantize(fused: Path, quantized: Path) -> None:
    """Quantise a fused encoder: matrix products in blocks, embeddings as int8 with one scale."""
    with _quiet(), tempfile.TemporaryDirectory() as beside:
        model = onnx.load(fused)
        blocks = _blocks(model.graph)
        for block in BLOCKS:
            others = [name for name, own in blocks.items() if own != block]
            products = MatMulNBitsQuantizer(
                model, 8, block, is_symmetric=True, accuracy_level=EIGHT_BITS, nodes_to_exclude=others
            )
            products.process()
            model = products.model.model
        onnx.save(model, half := Path(beside, "half.onnx"))
        quantize_dynamic(
            half,
            quantized,
            op_types_to_quantize=["EmbedLayerNormalization", "Gather"],
            weight_type=QuantType.QInt8,
            # What onnxruntime's own operators answer is unknown to ONNX.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )


def _blocks(graph: onnx.GraphProto) -> dict[str, int]:
    # The block of each product with weights, by the name of its node.
    rows = {weights.name: weights.dims[0] for weights in graph.initializer}
    return {
        node.name: next((block for block in BLOCKS if not rows[node.input[1]] % block), BLOCKS[-1])
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in rows
    }


@contextmanager
def _quiet() -> Iterator[None]:
    # Both tell of each node that they meet.
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


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
