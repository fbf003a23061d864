"""A trained model's weights, quantised in place."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from minilm import devices
from minilm.layers.base import Layer
from minilm.layers.gru import GRU
from minilm.layers.linear import Linear
from minilm.layers.lstm import LSTM
from minilm.layers.rnn import RNN
from minilm.ops import checks
from minilm.quantized.layers import QuantizedLinear
from minilm.quantized.recurrent import QuantizedRecurrent
from minilm.quantized.spec import FORMATS, GROUP

KINDS = {Linear: QuantizedLinear, LSTM: QuantizedRecurrent, GRU: QuantizedRecurrent, RNN: QuantizedRecurrent}
Model = TypeVar("Model", bound=Layer)


def quantize(model: Model, kind: str = "int8", *, group: int | None = GROUP) -> Model:
    """Store the weights of all affine maps and recurrent layers of a model in fewer bits, for inference.

    Parameters
    ----------
    model : Layer
        On the CPU, in float32. It is changed in place: embeddings, biases and normalisations stay as they are.
    kind : {"int8", "bf16"}
        8 bits and a scale for every group, with inputs quantised at every call; or bfloat16, with float32 arithmetic.
    group : int or None
        Of int8: how many numbers of a row share a scale, a multiple of 4; None for whole rows.

    Returns
    -------
    model
        The same. It generates, evaluates and encodes; it cannot be trained or saved.

    Raises
    ------
    TypeError, ValueError
        If the model is not float32, not on the CPU or has no affine map, or an argument is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import models, quantized
    >>> model = models.GPT(models.GPTConfig.gpt2(n_layer=2, n_head=2, n_embd=32, n_positions=64, vocab_size=65), seed=0)
    >>> exact, _ = model.logits(np.array([[1, 2, 3]]))
    >>> rounded, _ = quantized.quantize(model, "int8").logits(np.array([[1, 2, 3]]))
    >>> bool(np.abs(rounded - exact).max() < 0.02 * np.abs(exact).max())
    True
    """
    checks.option("kind", kind, FORMATS)
    if group is not None and checks.whole("group", group, 4, 2**31 - 4) % 4:
        raise ValueError(f"group must be a multiple of 4, got {group}")
    if model.dtype != np.float32:
        raise TypeError(f"quantized weights are made of float32 ones, got a model of {model.dtype}")
    if model.device != "cpu":
        raise ValueError(f"quantized weights multiply on the CPU, got a model on the device {model.device!r}")
    owners = [(layer, name, part) for _, layer in list(model.named_layers()) for name, part in vars(layer).items()]
    maps = [(layer, name, part) for layer, name, part in owners if type(part) in KINDS]
    if not maps:
        raise ValueError(f"a {type(model).__name__} has no affine map or recurrent layer whose weights could be quantized")
    rounded = [KINDS[type(part)](part, kind, group) for _, _, part in maps]
    _in_one_buffer([part for part in rounded if isinstance(part, QuantizedLinear)])
    for (layer, name, _), part in zip(maps, rounded, strict=True):
        setattr(layer, name, part)
    return model


def _in_one_buffer(layers: list[QuantizedLinear]) -> None:
    """Move all packed weights into one array: the system gives large arrays large pages, which the processor finds sooner."""
    every = [array for layer in layers for array in layer.packed if isinstance(array, np.ndarray)]
    starts = np.cumsum([0, *(-(-array.nbytes // 64) * 64 for array in every)])  # in whole cache lines
    buffer, moved = devices.aligned_zeros(int(starts[-1]), np.uint8), {}
    for array, start in zip(every, starts, strict=False):
        view = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        view[...] = array
        moved[id(array)] = view
    for layer in layers:
        layer.packed = type(layer.packed)(*(moved.get(id(part), part) for part in layer.packed))
