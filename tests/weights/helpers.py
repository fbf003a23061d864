"""Stand-ins for models: parameters with the names and shapes of a family, and nothing that computes."""

import types

import numpy as np

from minilm.layers import Parameter, Parameters

V, T, D, L = 13, 7, 6, 2  # vocabulary, positions, width, blocks


def gpt_shapes():
    """GPT's parameters by our names: linear weights (out, in)."""
    shapes = {"wte.weight": (V, D), "wpe.weight": (T, D)}
    for i in range(L):
        for name, shape in {
            "ln_1.weight": (D,),
            "ln_1.bias": (D,),
            "attn.c_attn.weight": (3 * D, D),
            "attn.c_attn.bias": (3 * D,),
            "attn.c_proj.weight": (D, D),
            "attn.c_proj.bias": (D,),
            "ln_2.weight": (D,),
            "ln_2.bias": (D,),
            "mlp.c_fc.weight": (4 * D, D),
            "mlp.c_fc.bias": (4 * D,),
            "mlp.c_proj.weight": (D, 4 * D),
            "mlp.c_proj.bias": (D,),
        }.items():
            shapes[f"h.{i}.{name}"] = shape
    return shapes


def gpt2_shapes():
    return {**gpt_shapes(), "ln_f.weight": (D,), "ln_f.bias": (D,)}


def bert_shapes(head="pretraining"):
    shapes = {
        "embeddings.word_embeddings.weight": (V, D),
        "embeddings.position_embeddings.weight": (T, D),
        "embeddings.token_type_embeddings.weight": (2, D),
        "embeddings.LayerNorm.weight": (D,),
        "embeddings.LayerNorm.bias": (D,),
    }
    for i in range(L):
        linear = {
            "attention.self.query": (D, D),
            "attention.self.key": (D, D),
            "attention.self.value": (D, D),
            "attention.output.dense": (D, D),
            "intermediate.dense": (4 * D, D),
            "output.dense": (D, 4 * D),
        }
        for name, shape in linear.items():
            shapes[f"encoder.layer.{i}.{name}.weight"] = shape
            shapes[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
        for name in ("attention.output", "output"):
            shapes[f"encoder.layer.{i}.{name}.LayerNorm.weight"] = shapes[f"encoder.layer.{i}.{name}.LayerNorm.bias"] = (D,)
    heads = {
        "none": {},
        "pretraining": {
            "cls.predictions.transform.dense": (D, D),
            "cls.predictions.transform.LayerNorm": (D,),
            "cls.seq_relationship": (2, D),
        },
        "question": {"qa_outputs": (2, D)},
        "tokens": {"classifier": (5, D)},
    }
    for name, shape in heads[head].items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]
    if head in ("none", "pretraining"):
        shapes["pooler.dense.weight"], shapes["pooler.dense.bias"] = (D, D), (D,)
    if head == "pretraining":
        shapes["cls.predictions.bias"] = (V,)
    return shapes


def model(shapes, seed=0, dtype=np.float32, ties=None):
    """A stand-in with random parameters; `ties` maps further names to first ones."""
    rng = np.random.default_rng(seed)
    named = {name: Parameter(rng.standard_normal(shape).astype(dtype)) for name, shape in shapes.items()}
    named |= {name: named[main] for name, main in (ties or {}).items()}
    return types.SimpleNamespace(parameters=Parameters(named.items()))


def same(a, b):
    """Whether two stand-ins have equal numbers."""
    a, b = a.parameters.state_dict(), b.parameters.state_dict()
    return list(a) == list(b) and all(np.array_equal(a[name], b[name]) for name in a)
