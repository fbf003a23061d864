"""A trained model's weights, quantised in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from minilm import devices
from minilm.layers.base import Layer
from minilm.layers.gru import GRU
from minilm.layers.linear import Linear
from minilm.layers.lora import refuse_adapters
from minilm.layers.lstm import LSTM
from minilm.layers.replacing import put_sublayer, sublayer_places
from minilm.layers.rnn import RNN
from minilm.ops import checks
from minilm.quantized.layers import QuantizedLinear
from minilm.quantized.recurrent import QuantizedRecurrent
from minilm.quantized.spec import FORMATS, GROUP, SMALL_GROUP, form_of

if TYPE_CHECKING:  # which brings Numba
    from minilm.quantized.packing import Packed

KINDS = {Linear: QuantizedLinear, LSTM: QuantizedRecurrent, GRU: QuantizedRecurrent, RNN: QuantizedRecurrent}
QUANTIZED = tuple(set(KINDS.values()))
Model = TypeVar("Model", bound=Layer)


def quantize(model: Model, kind: str = "int8", *, group: int | None = GROUP) -> Model:
    """Store the weights of all affine maps and recurrent layers of a model in fewer bits, for inference.

    Parameters
    ----------
    model : Layer
        On the CPU, in float32. It is changed in place: biases, normalisations and embeddings stay as they are, but for an
        embedding that an affine map shares, whose vectors become the rounded ones.
    kind : {"int8", "bf16", "int4"}
        8 bits and a scale for every group, with inputs quantised at every call; bfloat16, with float32 arithmetic; or 4 bits,
        a scale and a least number for every 32 of a row, with inputs in 8 bits.
    group : int or None
        Of int8: how many numbers of a row share a scale, a multiple of 4; None for whole rows. Of int4 it is 32.

    Returns
    -------
    model
        The same. It generates, evaluates and encodes; it cannot be trained. `save` writes it into a folder.

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
    from minilm.quantized.layers import packed

    checks.option("kind", kind, FORMATS)
    if group is not None and checks.whole("group", group, 4, 2**31 - 4) % 4:
        raise ValueError(f"group must be a multiple of 4, got {group}")
    if kind == "int4":
        if group not in (GROUP, SMALL_GROUP):
            raise ValueError(f"the groups of int4 have {SMALL_GROUP} numbers, got group={group}")
        group = SMALL_GROUP
    if any(isinstance(layer, QUANTIZED) for _, layer in model.named_layers()):
        raise ValueError(f"the weights of this {type(model).__name__} are quantized already")
    refuse_adapters(model)
    if model.dtype != np.float32:
        raise TypeError(f"quantized weights are made of float32 ones, got a model of {model.dtype}")
    if model.device != "cpu":
        raise ValueError(f"quantized weights multiply on the CPU, got a model on the device {model.device!r}")
    if not maps_of(model):
        raise ValueError(f"a {type(model).__name__} has no affine map or recurrent layer whose weights could be quantized")
    return rebuilt(model, kind, group, lambda name, W: packed(W, *form_of(name, kind, group)))


def maps_of(model: Layer) -> dict[str, tuple[Layer, str, Layer]]:
    """The layers whose weights can be quantised.

    Parameters
    ----------
    model : Layer

    Returns
    -------
    dict of str to (Layer, str, Layer)
        By a layer's dotted name: what holds it, as which attribute, and itself.
    """
    return sublayer_places(model, KINDS)


def rebuilt(model: Model, kind: str, group: int | None, source: Callable[[str, np.ndarray], Packed]) -> Model:
    """The model with quantised layers in the places of its own.

    Parameters
    ----------
    model : Layer
        Changed in place.
    kind, group
        As `quantize`'s.
    source : callable
        The packed weight for a parameter's dotted name and its value.

    Returns
    -------
    model
        The same.
    """
    rounded = []
    for path, (layer, name, part) in maps_of(model).items():
        own = KINDS[type(part)](part, kind, group, lambda weight, W, path=path: source(f"{path}.{weight}", W))
        rounded.append((layer, name, part, own))
    _in_one_buffer([own for *_, own in rounded if isinstance(own, QuantizedLinear)])
    for layer, name, _, own in rounded:
        put_sublayer(layer, name, own)
    left = {id(parameter) for _, parameter in model.named_parameters()}
    for _, parameter in model.named_parameters():
        if parameter.buffer is not None:  # which holds the weights that were rounded too, for as long as a bias lies in it
            parameter.replace(np.copy)
    for *_, part, own in rounded:
        if isinstance(part, Linear) and id(part.weight) in left:  # an embedding's too
            own.share(part.weight)
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
