r"""What a run would need before it is begun: memory by part, operations, bytes on the wire, and time.

The costs are those of `minilm.planner.cost`. A step of B rows on n devices goes through the model in A parts (``accumulate``), so
that a device has B / (n A) rows at a time. Each holds all of the weights:

============  ==========================================================================================
weights       4 P bytes
gradients     4 P
optimizer     4 P for each of its slots: 8 P of Adam; with ``shard_optimizer`` (ZeRO-1) the n-th part of that
activations   what the backward needs; with ``model.recompute`` the inputs of the blocks, and one block's
working       what the largest part computes in, gradients of activations above all
============  ==========================================================================================

The gradients' sum goes round as :math:`2 (n-1)/n \cdot 4P` bytes from each device, whether it is one all-reduce or, with
``shard_optimizer``, a reduce-scatter and an all-gather; the backward of the last part, which is two thirds of its time, hides it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from minilm import models
from minilm.mistaken import did_you_mean
from minilm.planner import cost, llama_cost
from minilm.planner.cluster import Cluster
from minilm.planner.cost import F32, Cost
from minilm.training import RunConfig
from minilm.training.settings import CELLS, configuration

__all__ = ["LLAMAS", "PRESETS", "Plan", "Variant", "plan", "planned_config", "split", "variants"]

GPT2 = {"gpt2": "small", "gpt2-medium": "medium", "gpt2-large": "large", "gpt2-xl": "xl"}
# Tokens of a batch, in millions: T. Brown et al., Language models are few-shot learners, 2020, table 2.1.
GPT3 = {"125M": 0.5, "350M": 0.5, "760M": 0.5, "1.3B": 1, "2.7B": 1, "6.7B": 2, "13B": 2, "175B": 3.2}
PRESETS = {name: ("gpt2", size, 0.5) for name, size in GPT2.items()}
PRESETS |= {f"gpt3-{size.lower()}": ("gpt3", size, millions) for size, millions in GPT3.items()}
# Of `LlamaConfig`: name -> constructor, size, tokens of a text, and of a batch, in millions. H. Touvron et al., Llama 2, 2023,
# table 1; A. Dubey et al., The Llama 3 herd of models, 2024, section 3.4.1; of the others these are a choice of our own.
LLAMAS = {f"llama2-{size.lower()}": ("llama2", size, 4096, 4) for size in ("7B", "13B", "70B")}
LLAMAS |= {f"llama3-{size.lower()}": ("llama3", size, 8192, 8) for size in ("1B", "3B", "8B", "70B")}
LLAMAS |= {f"smollm2-{size.lower()}": ("smollm2", size, 2048, 0.5) for size in ("135M", "360M", "1.7B")}
LLAMAS |= {f"mixtral-{size.lower()}": ("mixtral", size, 4096, 0.5) for size in ("8x7B", "8x22B")}
LLAMAS |= {"qwen2-0.5b": ("qwen2", "0.5B", 4096, 0.5), "qwen3-0.6b": ("qwen3", "0.6B", 4096, 0.5)}
LLAMAS |= {"gemma2-2b": ("gemma2", "2B", 4096, 0.5)}
LEFT_OUT = ("model_type", "vocab_size", "rope_scaling")  # of a LlamaConfig, said otherwise or of no weight in a plan
PLANNED = ("gpt", "llama", "bert")  # families beside the cells
VOCABULARY = {"rnn_lm": 100, "gpt": 100, "llama": 100, "bert": 30_522}  # where nothing says how many tokens there are


class Variant(NamedTuple):
    """The same run with something changed."""

    change: str
    memory: float  # bytes of a device
    step: float  # seconds
    fits: bool


class Plan(NamedTuple):
    """What a run needs."""

    config: RunConfig
    parameters: int
    tokens: int  # of a step
    flops: float  # of a token, forward and backward, what is recomputed included
    memory: dict[str, float]  # bytes of each device, by part
    available: float
    cache: float  # bytes of keys and values, or of a state, while one text of `time` tokens is written
    wire: float  # bytes that each device sends, a step
    seconds: dict[str, float]  # of a step, by part
    products: float  # seconds of its matrix products alone: what nothing can be quicker than
    fits: bool

    @property
    def needed(self) -> float:
        """Bytes of each device."""
        return sum(self.memory.values())

    @property
    def step(self) -> float:
        """Seconds."""
        return sum(self.seconds.values())


def planned_config(name: str, sets: Iterable[str] = (), devices: int = 1) -> tuple[RunConfig, int]:
    """The configuration of a run of a named model, and its vocabulary.

    Parameters
    ----------
    name : str
        One of `PRESETS` or `LLAMAS`, or what ``minilm train --model`` says.
    sets : iterable of str
        ``key=value`` each, as of ``minilm train --set``.
    devices : int
        A preset's batch, that of its paper, is rounded to a multiple of this.
    """
    if name in PRESETS:
        family, size, millions = PRESETS[name]
        config = getattr(models.GPTConfig, family)(size)
        sizes = {key: getattr(config, key) for key in ("n_layer", "n_embd", "n_head", "band", "resid_pdrop")}
        settings = {f"model.{key}": value for key, value in sizes.items()}
        settings |= {"model.model_type": "gpt", "time": config.n_positions}
        settings["batch"] = _rows(millions, config.n_positions, devices)
        preset = [f"{key}={value}" for key, value in settings.items() if value is not None]
        return configuration(sets=[*preset, *sets]), config.vocab_size
    if name in LLAMAS:
        kind, size, time, millions = LLAMAS[name]
        llama = getattr(models.LlamaConfig, kind)(size)
        settings = {f"model.{key}": value for key, value in llama.to_dict().items() if key not in LEFT_OUT and value is not None}
        settings |= {"time": time, "batch": _rows(millions, time, devices)}
        preset = [f"{key}={json.dumps(value) if isinstance(value, bool) else value}" for key, value in settings.items()]
        return configuration(sets=["model.model_type=llama", *preset, *sets]), llama.vocab_size
    if name not in (*CELLS, *PLANNED):
        raise ValueError(f"there is no model {name!r} to plan; {did_you_mean(name, (*CELLS, *PLANNED, *PRESETS, *LLAMAS))}")
    model = {"model_type": "rnn_lm", "cell": name} if name in CELLS else {"model_type": name}
    config = configuration(sets=[*(f"model.{key}={value}" for key, value in model.items()), *sets])
    kind = config.model["model_type"]
    if kind not in VOCABULARY:  # from --set model.model_type
        raise ValueError(f"there is no plan for a model of the kind {kind!r}: wanted {', '.join(VOCABULARY)}")
    return config, VOCABULARY[kind]


def _rows(millions: float, time: int, devices: int) -> int:
    """Rows of `time` tokens of a batch of so many million."""
    return devices * max(1, round(millions * 2**20 / time / devices))


def plan(config: RunConfig, vocabulary: int, cluster: Cluster) -> Plan:
    """What a run needs on some devices.

    Raises
    ------
    ValueError
        The rows of a batch cannot be shared out, or the model is of a kind that has no plan.
    """
    n, model = cluster.count, config.model
    if config.batch % (n * config.accumulate):
        parts = f"{n} devices and accumulate={config.accumulate}"
        raise ValueError(f"batch={config.batch} rows cannot be shared by {parts}: give a multiple of {n * config.accumulate}")
    rows = config.batch // (n * config.accumulate)
    part = _cost(model, vocabulary, rows, config.time)
    P = part.parameters
    slots = _slots(config) / (n if getattr(config, "shard_optimizer", False) else 1)
    memory = {"weights": F32 * P, "gradients": F32 * P, "optimizer": F32 * P * slots}
    memory |= {"activations": part.activations, "working": part.working}
    if config.average is not None:
        memory["average"] = F32 * P
    compute = config.accumulate * part.seconds(cluster.machine, update=False)
    width = 2 if getattr(config, "wire", "float32") == "bf16" else F32
    wire = 2 * (n - 1) / n * width * P
    hidden = 2 / 3 * compute / config.accumulate
    seconds = {"forward and backward": compute}
    if n > 1:
        seconds["communication not hidden"] = max(0.0, wire / cluster.link - hidden)
    seconds["optimizer"] = (3 + 2 * slots) * F32 * P / cluster.machine.bandwidth
    tokens = config.batch * config.time
    flops = (part.products + part.recurrent) * n * config.accumulate / tokens
    rate, available = cluster.machine, cluster.machine.memory
    products = config.accumulate * part.least(rate)
    fits, cache = sum(memory.values()) <= available, _cache(model, config.time)
    return Plan(config, P, tokens, flops, memory, available, cache, wire, seconds, products, fits)


def _cost(model: Mapping[str, Any], V: int, B: int, T: int) -> Cost:
    """The cost of B rows once through the model, forward and backward."""
    N, kind = B * T, model["model_type"]
    if kind == "rnn_lm":
        E, H, tied = model["embedding_size"], model["hidden_size"], model["tied"]
        body = cost.recurrent(model["cell"], T, B, E, H, model["num_layers"])
        return cost.total([cost.embedding(N, V, E), body, cost.linear(N, H, V, shared=tied), cost.softmax(N, V)])
    if kind == "llama":
        return llama_cost.llama(models.LlamaConfig.from_dict({**model, "vocab_size": V}), B, T)
    if kind == "gpt":
        D, heads, layers, inner, causal = model["n_embd"], model["n_head"], model["n_layer"], model["n_inner"], True
        places, tied, masked = model["n_positions"], model["tie_word_embeddings"], 1.0
    elif kind == "bert":
        D, heads, layers, causal = model["hidden_size"], model["num_attention_heads"], model["num_hidden_layers"], False
        inner, places, tied, masked = model["intermediate_size"], model["max_position_embeddings"], True, 0.15
    else:
        raise ValueError(f"there is no plan for a model of the kind {kind!r}: wanted {', '.join(VOCABULARY)}")
    block = cost.block(B, T, D, heads, causal, inner)
    blocks = layers * block
    if model["recompute"]:  # the forward again, a third of all; kept is what goes into each block, and one block's activations
        blocks = blocks._replace(
            products=layers * block.products * 4 / 3,
            short=layers * block.short * 4 / 3,
            moved=layers * block.moved * 4 / 3,
            operands=layers * block.operands * 4 / 3,
            exponentials=layers * block.exponentials * 1.5,
            activations=layers * float(F32) * N * D + block.activations,
        )
    M = max(1, round(masked * N))  # rows that are guessed
    tables = [cost.embedding(N, V, D), Cost(parameters=places * D)]
    head = [cost.norm(N, D), cost.linear(M, D, V, shared=tied, bias=kind == "bert"), cost.softmax(M, V)]
    more = [cost.linear(M, D, D), cost.norm(M, D), Cost(parameters=2 * D), cost.linear(B, D, D), cost.linear(B, D, 2)]
    return cost.total([*tables, blocks, *head, *(more if kind == "bert" else [])])


def _slots(config: RunConfig) -> int:
    """Buffers of the weights' size that the optimizer keeps."""
    settings = config.optimizer
    if settings.name == "sgd":
        return int(settings.momentum > 0)
    return 3 if settings.amsgrad else 2


def _cache(model: Mapping[str, Any], T: int) -> float:
    """Bytes that a text of T tokens needs while it is written: keys and values of a GPT, the state of a recurrent model."""
    if model["model_type"] == "gpt":
        return 2.0 * F32 * model["n_layer"] * T * model["n_embd"]
    if model["model_type"] == "llama":
        return llama_cost.cache(models.LlamaConfig.from_dict({**model, "vocab_size": 2}), T)
    if model["model_type"] == "rnn_lm":
        return float(F32) * model["num_layers"] * model["hidden_size"] * (2 if model["cell"] == "lstm" else 1)
    return 0.0


def variants(config: RunConfig, vocabulary: int, cluster: Cluster) -> list[Variant]:
    """The same run with recomputation, with ZeRO-1, with one row at a time, and with all of these."""
    rows = config.batch // cluster.count
    changes: dict[str, dict[str, Any]] = {"as it is": {}}
    if "recompute" in config.model:
        changes["model.recompute=true"] = {"model": {**config.model, "recompute": True}}
    if cluster.count > 1 and hasattr(config, "shard_optimizer"):
        changes["shard_optimizer=true"] = {"shard_optimizer": True}
    if rows > config.accumulate:
        changes[f"accumulate={rows}"] = {"accumulate": rows}
    if len(changes) > 2:
        changes["all of these"] = {key: value for change in changes.values() for key, value in change.items()}
    results = []
    for name, change in changes.items():
        each = plan(config.replace(**change), vocabulary, cluster)
        results.append(Variant(name, each.needed, each.step, each.fits))
    return results


def split(plan: Plan) -> int:
    """Over how many devices weights, gradients and optimizer alone would have to be split to fit, which minilm does not do."""
    fixed = sum(plan.memory[name] for name in ("weights", "gradients", "optimizer"))
    return -(-int(fixed) // int(plan.available))
