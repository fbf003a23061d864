"""Models of ONNX Runtime, built node by node from the weights of ours."""

from __future__ import annotations

import os
import tempfile

import numpy as np


class Graph:
    """Nodes and constants of a model that is being built; `onnx` is the package.

    Parameters
    ----------
    weights : dict of str to ndarray
        By minilm's names.
    """

    def __init__(self, onnx, weights: dict[str, np.ndarray], eps: float):
        from onnx import helper, numpy_helper

        self._helper, self._from_array = helper, numpy_helper.from_array
        self._types = onnx.TensorProto
        self._nodes: list = []
        self._constants: list = []
        self.weights, self.eps = weights, eps

    def constant(self, name: str, value) -> str:
        self._constants.append(self._from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes):
        """The output's name; a list of them where there are several."""
        names = [f"{kind}_{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(self._helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def norm(self, x: str, name: str) -> str:
        gamma, beta = (self.constant(f"{name}.{kind}", self.weights[f"{name}.{kind}"]) for kind in ("weight", "bias"))
        return self.node("LayerNormalization", x, gamma, beta, axis=-1, epsilon=self.eps)

    def linear(self, x: str, name: str) -> str:
        product = self.node("MatMul", x, self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T))
        return self.node("Add", product, self.constant(f"{name}.bias", self.weights[f"{name}.bias"]))

    def table(self, name: str, ids: str) -> str:
        return self.node("Gather", self.constant(name, self.weights[name]), ids)

    def model(self, inputs: dict[str, tuple], outputs: list[str]):
        """The ONNX model: of each input its shape, and whether it holds ids."""
        kinds = {True: self._types.INT64, False: self._types.FLOAT}
        value = self._helper.make_tensor_value_info
        ins = [value(name, kinds[integers], shape) for name, (shape, integers) in inputs.items()]
        outs = [value(name, self._types.FLOAT, None) for name in outputs]
        graph = self._helper.make_graph(self._nodes, "model", ins, outs, self._constants)
        return self._helper.make_model(graph, opset_imports=[self._helper.make_opsetid("", 20)], ir_version=10)


def session(onnxruntime, model, threads: int, kind: str):
    """A session that runs the model, in "float32", or in "int8" by dynamic quantisation."""
    import onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        onnx.save(model, path)
        if kind == "int8":
            from onnxruntime.quantization import QuantType, quantize_dynamic

            small = os.path.join(folder, "int8.onnx")
            quantize_dynamic(path, small, weight_type=QuantType.QInt8)
            path = small
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def bert(onnx, config, weights: dict, B: int, T: int):
    """A BERT's encoder: ids (B, T) of one segment, without padding, to the last hidden states (B, T, D)."""
    D, H = config.hidden_size, config.num_attention_heads
    graph = Graph(onnx, weights, config.layer_norm_eps)
    heads, merged = graph.constant("heads", np.array([B, T, H, D // H])), graph.constant("merged", np.array([B, T, D]))
    scale = graph.constant("scale", np.float32((D // H) ** -0.5))
    first = weights["embeddings.token_type_embeddings.weight"][0] + weights["embeddings.position_embeddings.weight"][:T]  # (T, D)
    x = graph.node("Add", graph.table("embeddings.word_embeddings.weight", "ids"), graph.constant("places", first))
    x = graph.norm(x, "embeddings.LayerNorm")
    for i in range(config.num_hidden_layers):
        layer = f"encoder.layer.{i}"
        parts = [graph.node("Reshape", graph.linear(x, f"{layer}.attn.{name}"), heads) for name in ("query", "key", "value")]
        q, k, v = (
            graph.node("Transpose", part, perm=perm)
            for part, perm in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
        )
        p = graph.node("Softmax", graph.node("Mul", graph.node("MatMul", q, k), scale), axis=-1)  # (B, H, T, T)
        y = graph.node("Reshape", graph.node("Transpose", graph.node("MatMul", p, v), perm=[0, 2, 1, 3]), merged)
        x = graph.norm(graph.node("Add", x, graph.linear(y, f"{layer}.attn.c_proj")), f"{layer}.ln_1")
        hidden = graph.node("Gelu", graph.linear(x, f"{layer}.mlp.c_fc"))
        x = graph.norm(graph.node("Add", x, graph.linear(hidden, f"{layer}.mlp.c_proj")), f"{layer}.ln_2")
    return graph.model({"ids": ((B, T), True)}, [x]), x
