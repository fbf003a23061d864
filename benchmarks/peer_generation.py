"""GPT-2 writing with a cache of keys and values, in engines made for it: CTranslate2 and ONNX Runtime, in float32 and int8."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks import onnx_graph
from benchmarks.peer_ops import quickest


def ctranslate2_writer(ctranslate2, config, weights: dict, tokens: int, threads: int, kind: str) -> Callable:
    """`tokens` of one text, always the most probable one. To `kind`, "float32" or "int8", weights are rounded when loaded."""
    from ctranslate2.specs import TransformerDecoderModelSpec, common_spec

    spec = TransformerDecoderModelSpec.from_config(
        config.n_layer, config.n_head, pre_norm=True, activation=common_spec.Activation.GELUTanh
    )
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = decoder.projection.weight = weights["wte.weight"]
    decoder.position_encodings.encodings = weights["wpe.weight"]

    def fill(part, name, kinds=("weight", "bias")):
        for kind, field in zip(("weight", "bias"), kinds, strict=True):
            setattr(part, field, weights[f"{name}.{kind}"])

    norm = ("gamma", "beta")
    fill(decoder.layer_norm, "ln_f", norm)
    for number, layer in enumerate(decoder.layer):
        fill(layer.self_attention.layer_norm, f"h.{number}.ln_1", norm)
        fill(layer.self_attention.linear[0], f"h.{number}.attn.c_attn")
        fill(layer.self_attention.linear[1], f"h.{number}.attn.c_proj")
        fill(layer.ffn.layer_norm, f"h.{number}.ln_2", norm)
        fill(layer.ffn.linear_0, f"h.{number}.mlp.c_fc")
        fill(layer.ffn.linear_1, f"h.{number}.mlp.c_proj")
    spec.register_vocabulary([f"t{i}" for i in range(config.vocab_size)])
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = "t0"
    spec.validate()
    spec.optimize()

    def loaded(number: int) -> Callable:
        with tempfile.TemporaryDirectory() as folder:
            spec.save(folder)
            generator = ctranslate2.Generator(folder, device="cpu", compute_type=kind, intra_threads=number, inter_threads=1)
        options = {"min_length": tokens, "max_length": tokens, "include_prompt_in_result": False}

        def run():
            (result,) = generator.generate_batch([["t0"]], beam_size=1, sampling_topk=1, **options)
            if len(result.sequences_ids[0]) != tokens:
                raise RuntimeError(f"CTranslate2 wrote {len(result.sequences_ids[0])} tokens, not {tokens}")

        return run

    # Threads that wait asleep may take ten times as long as one: it stands with what serves it best.
    return quickest([loaded(number) for number in sorted({1, threads})])


def onnx_model(onnx, config, weights: dict):
    """One step of GPT-2 as an ONNX model: ids (1, 1), position (1,), each block's keys and values so far (1, H, T, K)."""
    D, H, L = config.n_embd, config.n_head, config.n_layer
    graph = onnx_graph.Graph(onnx, weights, 1e-5)
    node, linear, norm = graph.node, graph.linear, graph.norm
    heads, merged = graph.constant("heads", np.array([1, 1, H, D // H])), graph.constant("merged", np.array([1, 1, D]))
    scale = graph.constant("scale", np.float32((D // H) ** -0.5))
    x = node("Add", graph.table("wte.weight", "ids"), graph.table("wpe.weight", "position"))
    presents = []
    for i in range(L):
        parts = node("Split", linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn"), outputs=3, axis=-1, num_outputs=3)
        q, k, v = (node("Transpose", node("Reshape", part, heads), perm=[0, 2, 1, 3]) for part in parts)  # (1, H, 1, K)
        k, v = (node("Concat", f"past_{kind}_{i}", part, axis=2) for kind, part in (("k", k), ("v", v)))
        presents += [k, v]
        scores = node("Mul", node("MatMul", q, node("Transpose", k, perm=[0, 1, 3, 2])), scale)
        y = node("MatMul", node("Softmax", scores, axis=-1), v)
        x = node("Add", x, linear(node("Reshape", node("Transpose", y, perm=[0, 2, 1, 3]), merged), f"h.{i}.attn.c_proj"))
        hidden = node("Gelu", linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate="tanh")
        x = node("Add", x, linear(hidden, f"h.{i}.mlp.c_proj"))
    logits = node("MatMul", norm(x, "ln_f"), graph.constant("lm_head", weights["wte.weight"].T))
    cache = [f"past_{kind}_{i}" for i in range(L) for kind in ("k", "v")]
    inputs = {"ids": ((1, 1), True), "position": ((1,), True), **{name: ((1, H, "T", D // H), False) for name in cache}}
    return graph.model(inputs, [logits, *presents]), cache, [logits, *presents]


def onnx_writer(onnxruntime, config, weights: dict, tokens: int, threads: int, kind: str) -> Callable:
    """`tokens` of one text, always the most probable one; the logits of the last. "int8" is by its dynamic quantisation."""
    import onnx

    model, cache, outputs = onnx_model(onnx, config, weights)
    session = onnx_graph.session(onnxruntime, model, threads, kind)
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    empty = np.zeros((1, config.n_head, 0, config.n_embd // config.n_head), np.float32)

    def run():
        ids, past = np.zeros((1, 1), np.int64), {name: value(empty) for name in cache}
        for place in range(tokens):
            feeds = {"ids": value(ids), "position": value(np.array([place])), **past}
            logits, *present = session.run_with_ort_values(outputs, feeds)
            last = logits.numpy()[:, -1]  # (1, V)
            ids = last.argmax(-1)[:, None]
            past = dict(zip(cache, present, strict=True))
        return last

    return run


def onnx_reader(onnxruntime, config, weights: dict, ids: np.ndarray, threads: int, kind: str) -> Callable:
    """A BERT's last hidden states of sentences (B, T)."""
    import onnx

    model, output = onnx_graph.bert(onnx, config, weights, *ids.shape)
    session = onnx_graph.session(onnxruntime, model, threads, kind)
    return lambda: session.run([output], {"ids": ids})[0]
