"""A BERT encoder as an ONNX graph, for onnxruntime and others, by the package onnx.

::

    input_ids, attention_mask, token_type_ids (B, T) int64   ->   last_hidden_state (B, T, D), pooler_output (B, D)

Every formula of the model is a few nodes of ONNX's operators, of opset 17; B and T are left open. What the mask hides has -10000
added to its scores, as in BERT's own program: exp of it is 0.

The operators: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import numpy as np

from minilm import devices
from minilm.files import written_whole
from minilm.layers.lora import refuse_adapters
from minilm.models.bert import BERT
from minilm.quantized.storing import refuse_quantized
from minilm.typing import PathLike

__all__ = ["write_onnx"]

OPSET, IR = 17, 8
HIDDEN = -10000.0
MOST_BYTES = 2**31 - 1  # of a file of protocol buffers


def write_onnx(model: Any, path: PathLike) -> None:
    """Write the encoder of a BERT, whole or not at all.

    Parameters
    ----------
    model : BERT, or one with a head, whose encoder is ``model.bert``
    path : str or os.PathLike

    Raises
    ------
    OSError
    ValueError
        The model has no encoder, is larger than a file can be, or onnx is not installed.
    """
    bert = model if isinstance(model, BERT) else getattr(model, "bert", None)
    if not isinstance(bert, BERT):
        raise ValueError(f"ONNX is written of BERT's encoders, got a {type(model).__name__}")
    refuse_quantized(bert, "ONNX is written from float weights")
    refuse_adapters(bert)
    if bert.parameters.count * 4 > MOST_BYTES:
        raise ValueError(f"an ONNX file holds at most 2 GiB, and the model has {bert.parameters.count:,} numbers")
    content = _Graph(_library()).of(bert).SerializeToString()
    with written_whole(os.path.expanduser(path)) as file:
        file.write(content)


def _library() -> ModuleType:
    try:
        import onnx
    except ImportError:
        raise ValueError("ONNX files want the package onnx: pip install 'minilm[onnx]'") from None
    return onnx


class _Graph:
    """Nodes and arrays, as they are put together; each method adds some and gives the name of what comes out."""

    def __init__(self, onnx: ModuleType):
        self.onnx, self.nodes, self.arrays = onnx, [], []

    def of(self, bert: BERT) -> Any:
        """The whole file."""
        onnx, config = self.onnx, bert.config
        hidden = self.encoder(bert, self.embeddings(bert.embeddings, config.layer_norm_eps))
        outputs = {"last_hidden_state": ["batch", "sequence", config.hidden_size]}
        self.node("Identity", hidden, output="last_hidden_state")
        if bert.pooler is not None:
            first = self.node("Gather", hidden, self.constant(np.int64(0)), axis=1)  # (B, D)
            self.node("Tanh", self.linear(first, bert.pooler.dense), output="pooler_output")
            outputs["pooler_output"] = ["batch", config.hidden_size]
        kinds, info = onnx.TensorProto, onnx.helper.make_tensor_value_info
        texts = [info(name, kinds.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask", "token_type_ids")]
        results = [info(name, kinds.FLOAT, shape) for name, shape in outputs.items()]
        graph = onnx.helper.make_graph(self.nodes, "bert", texts, results, self.arrays)
        opset = onnx.helper.make_opsetid("", OPSET)
        return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR, producer_name="minilm")

    # --- the model's parts -----------------------------------------------------------------------------------------------

    def embeddings(self, layer: Any, eps: float) -> str:
        """x (B, T, D): word + position + segment, normalised."""
        shape = self.node("Shape", "input_ids")  # (2,)
        length = self.node("Gather", shape, self.constant(np.array([1])))  # (1,) T
        table = self.constant(layer.position_embeddings.weight.value)
        positions = self.node("Slice", table, self.constant(np.array([0])), length)  # (T, D)
        words = self.node("Gather", self.constant(layer.word_embeddings.weight.value), "input_ids")
        segments = self.node("Gather", self.constant(layer.token_type_embeddings.weight.value), "token_type_ids")
        x = self.node("Add", self.node("Add", words, positions), segments)
        return self.norm(x, layer.LayerNorm, eps)

    def encoder(self, bert: BERT, x: str) -> str:
        """The blocks, one after another."""
        config = bert.config
        seen = self.node("Unsqueeze", "attention_mask", self.constant(np.array([1, 2])))  # (B, 1, 1, T)
        seen = self.node("Cast", seen, to=self.onnx.TensorProto.FLOAT)
        hidden = self.node("Sub", self.constant(np.float32(1)), seen)
        mask = self.node("Mul", hidden, self.constant(np.float32(HIDDEN)))
        for block in bert.encoder.layer:
            y = self.attention(x, block.attn, mask, config.num_attention_heads)
            x = self.norm(self.node("Add", x, y), block.ln_1, config.layer_norm_eps)
            y = self.linear(self.activation(self.linear(x, block.mlp.c_fc), config.activation), block.mlp.c_proj)
            x = self.norm(self.node("Add", x, y), block.ln_2, config.layer_norm_eps)
        return x

    def attention(self, x: str, layer: Any, mask: str, heads: int) -> str:
        """softmax(q kᵀ / √K + mask) v of each head, and the last map."""
        D = layer.query.weight.shape[0]
        split, joined = self.constant(np.array([0, 0, heads, D // heads])), self.constant(np.array([0, 0, D]))

        def part(linear, order):
            return self.node("Transpose", self.node("Reshape", self.linear(x, linear), split), perm=order)

        q, k, v = part(layer.query, [0, 2, 1, 3]), part(layer.key, [0, 2, 3, 1]), part(layer.value, [0, 2, 1, 3])  # (B, H, T, K)
        scores = self.node("Mul", self.node("MatMul", q, k), self.constant(np.float32((D // heads) ** -0.5)))  # (B, H, T, T)
        weights = self.node("Softmax", self.node("Add", scores, mask), axis=-1)
        y = self.node("Transpose", self.node("MatMul", weights, v), perm=[0, 2, 1, 3])  # (B, T, H, K)
        return self.linear(self.node("Reshape", y, joined), layer.c_proj)

    def linear(self, x: str, layer: Any) -> str:
        """x Wᵀ + b."""
        W = self.constant(layer.weight.value.T)
        return self.node("Add", self.node("MatMul", x, W), self.constant(layer.bias.value))

    def norm(self, x: str, layer: Any, eps: float) -> str:
        """LayerNorm over the last axis."""
        gain, bias = self.constant(layer.weight.value), self.constant(layer.bias.value)
        return self.node("LayerNormalization", x, gain, bias, axis=-1, epsilon=float(eps))

    def activation(self, x: str, kind: str) -> str:
        """x Φ(x) by the error function or by tanh, or ReLU."""
        if kind == "relu":
            return self.node("Relu", x)
        half = self.node("Mul", x, self.constant(np.float32(0.5)))
        if kind == "gelu_erf":
            curve = self.node("Erf", self.node("Mul", x, self.constant(np.float32(0.5**0.5))))
        else:
            cube = self.node("Mul", self.node("Mul", self.node("Mul", x, x), x), self.constant(np.float32(0.044715)))
            inside = self.node("Mul", self.node("Add", x, cube), self.constant(np.float32((2 / np.pi) ** 0.5)))
            curve = self.node("Tanh", inside)
        return self.node("Mul", half, self.node("Add", curve, self.constant(np.float32(1))))

    # --- nodes -------------------------------------------------------------------------------------------------------------

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        output = output or f"n{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, values: Any) -> str:
        """Add an array; its name."""
        host, name = np.asarray(devices.to_host(values)), f"c{len(self.arrays)}"
        host = host.astype(np.float32 if host.dtype.kind == "f" else np.int64)
        self.arrays.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(host).reshape(host.shape), name))
        return name
