"""What adapter_config.json of PEFT says of LoRA's adapters: which layers have one, of what rank, and how much each counts.

Names are those of PyTorch's modules in transformers, such as model.layers.0.self_attn.q_proj. By PEFT's rules ::

    has one       its name is in target_modules or ends with one of them; or all of it matches them, where they are one pattern
    rank, alpha   those of the first pattern of rank_pattern, alpha_pattern that the end of its name matches, else r, lora_alpha
    counts        s = alpha / rank, or alpha / √rank with use_rslora

less those of exclude_modules. With layers_to_transform a name that ends with one of target_modules counts in these layers alone,
one that stands there whole, or matches a pattern, in any. A pattern is a regular expression of Python's.

References: https://huggingface.co/docs/peft; D. Kalajdzievski, A rank stabilization scaling factor for fine-tuning with LoRA,
arXiv:2312.03732 (√rank).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from minilm.ops import checks

__all__ = ["AdapterConfig", "adapter_config", "adapter_content", "ends_with"]

MOST = 2**31
# What is of training, or of whoever writes the file, and says nothing of what the adapters compute.
WITHOUT_EFFECT = (
    *("task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "lora_dropout", "fan_in_fan_out"),
    *("peft_version", "runtime_config", "ephemeral_gpu_offload", "megatron_core", "loftq_config", "eva_config", "corda_config"),
    *("qalora_group_size", "lora_ga_config"),
)
READ = (
    *("peft_type", "r", "lora_alpha", "target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "use_rslora"),
    *("layers_to_transform", "layers_pattern", "init_lora_weights", "bias"),
)
# First values that change the model's own weights, too; PEFT changes them again where it reads the file.
CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica")


class AdapterConfig(NamedTuple):
    """The settings that say what adapters compute.

    Attributes
    ----------
    rank : int
    alpha : float
    targets, excluded : str or list of str
        A pattern, or names and ends of names.
    ranks, alphas : dict of str to int or float
        By pattern, in their order.
    rslora : bool
    layers : list of int, or None
    layers_pattern : list of str
    """

    rank: int
    alpha: float
    targets: str | list[str]
    excluded: str | list[str] = []
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    rslora: bool = False
    layers: list[int] | None = None
    layers_pattern: list[str] = []

    def chooses(self, name: str) -> bool:
        """Whether the layer of this name has an adapter."""
        if _meant(name, self.excluded) or not _meant(name, self.targets):
            return False
        if self.layers is None or isinstance(self.targets, str) or name in self.targets:
            return True
        patterns = [rf"(?:^|.*?\.)(?:{each})\.(?P<layer>\d+)\." for each in self.layers_pattern]
        patterns = patterns or [r".*?\.[^.]*\.(?P<layer>\d+)\."]
        match = next(filter(None, (re.match(pattern, name) for pattern in patterns)), None)
        return match is not None and int(match["layer"]) in self.layers

    def rank_of(self, name: str) -> int:
        return next((rank for pattern, rank in self.ranks.items() if _matches_end(name, pattern)), self.rank)

    def alpha_of(self, name: str) -> float:
        return next((alpha for pattern, alpha in self.alphas.items() if _matches_end(name, pattern)), self.alpha)


def ends_with(name: str, end: str) -> bool:
    """Whether a dotted name is `end`, or ends with it."""
    return name == end or name.endswith(f".{end}")


def _meant(name: str, targets: str | list[str]) -> bool:
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(ends_with(name, each) for each in targets)


def _matches_end(name: str, pattern: str) -> bool:
    return re.match(rf"(.*\.)?({pattern})$", name) is not None


# --- reading ---------------------------------------------------------------------------------------------------------------


def adapter_config(content: Mapping[str, Any]) -> AdapterConfig:
    """The settings in the content of an adapter_config.json.

    Raises
    ------
    ValueError, TypeError
        One is of the wrong kind, or changes what the model computes in a way that minilm does not have.
    """
    fixed = {"peft_type": "LORA", "bias": "none"}
    for name, value in content.items():
        if name in fixed and value != fixed[name]:
            raise ValueError(f"{name} = {value!r} is not supported, wanted {fixed[name]!r}")
        if name not in (*READ, *WITHOUT_EFFECT) and value not in (None, False, [], {}):
            raise ValueError(f"{name} = {value!r} is not supported")
    start = content.get("init_lora_weights", True)
    if isinstance(start, str) and start.startswith(CHANGING):
        raise ValueError(f"init_lora_weights = {start!r} changes the model's own weights, too, which is not supported")
    targets = _names("target_modules", content.get("target_modules"))
    if not targets:
        raise ValueError("target_modules must name layers, got none")
    layers, rslora = content.get("layers_to_transform"), content.get("use_rslora") or False
    layers = [layers] if isinstance(layers, int) else layers
    if layers is not None and not (isinstance(layers, list) and all(type(each) is int for each in layers)):
        raise ValueError(f"layers_to_transform must be whole numbers, got {checks.describe(layers)}")
    if not isinstance(rslora, bool):
        raise ValueError(f"use_rslora must be true or false, got {checks.describe(rslora)}")
    pattern = _names("layers_pattern", content.get("layers_pattern") or [])
    config = AdapterConfig(
        _rank("r", content.get("r", 8)),
        _alpha("lora_alpha", content.get("lora_alpha", 8)),
        targets,
        _names("exclude_modules", content.get("exclude_modules") or []),
        {each: _rank(f"rank_pattern[{each!r}]", value) for each, value in _patterns(content, "rank_pattern")},
        {each: _alpha(f"alpha_pattern[{each!r}]", value) for each, value in _patterns(content, "alpha_pattern")},
        rslora,
        layers or None,
        [pattern] if isinstance(pattern, str) else pattern,
    )
    written = [each for each in (config.targets, config.excluded) if isinstance(each, str)]
    for each in (*written, *config.ranks, *config.alphas, *config.layers_pattern):
        try:
            re.compile(each)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{each!r} is no regular expression: {error}") from None
    return config


def _names(setting: str, value: Any) -> str | list[str]:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value)):
        return value
    raise ValueError(f"{setting} must be a list of names or a pattern, got {checks.describe(value)}")


def _patterns(content: Mapping[str, Any], setting: str) -> Iterable[tuple[str, Any]]:
    value = content.get(setting) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{setting} must have a number for each pattern, got {checks.describe(value)}")
    return value.items()


def _rank(setting: str, value: Any) -> int:
    return checks.whole(setting, value, 1, MOST)


def _alpha(setting: str, value: Any) -> float:
    return checks.number(setting, value, 0, MOST, low_open=True)


# --- writing ---------------------------------------------------------------------------------------------------------------


def adapter_content(
    sizes: Mapping[str, tuple[int, float]],
    others: Iterable[str],
    rslora: bool,
    *,
    transposed: bool,
    base: str | None,
    task: str | None,
) -> dict[str, Any]:
    """The content of an adapter_config.json.

    Parameters
    ----------
    sizes : mapping of str to (int, float)
        Rank and alpha of each adapted layer, by its name.
    others : iterable of str
        The other layers that could have an adapter.
    rslora : bool
    transposed : bool
        Whether an adapted layer's weight is stored (in, out), as GPT-2's are.
    base : str, optional
        The folder or name of the model.
    task : str, optional
        What PEFT calls the model's task.
    """
    rank, alpha = (Counter(each).most_common(1)[0][0] for each in zip(*sizes.values(), strict=True))
    return {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "use_rslora": rslora,
        "rank_pattern": {name: each for name, (each, _) in sizes.items() if each != rank},
        "alpha_pattern": {name: each for name, (_, each) in sizes.items() if each != alpha},
        "target_modules": _targets(list(sizes), list(others)),
        "bias": "none",
        "fan_in_fan_out": transposed,
        "inference_mode": True,
    }


def _targets(adapted: list[str], others: list[str]) -> list[str]:
    """What PEFT finds the adapted layers by, and no others: last parts of their names, or whole ones."""
    last = sorted({name.rpartition(".")[2] for name in adapted})
    return sorted(adapted) if any(ends_with(name, end) for name in others for end in last) else last
