"""Clipping of gradients by itself, where it is not folded into an optimizer's step."""

from __future__ import annotations

from minilm import devices
from minilm.layers.parameters import Parameters
from minilm.ops import clip
from minilm.typing import Scalar


def clip_gradients(parameters: Parameters, max_norm: float) -> Scalar:
    """Scale all gradients together so that their norm is at most `max_norm`, in place.

    An optimizer's ``clip_norm`` does the same without a second pass over memory.

    Parameters
    ----------
    parameters : Parameters
    max_norm : float

    Returns
    -------
    norm : float
        Before clipping.

    Raises
    ------
    FloatingPointError
        If the norm is not finite; the gradients are unchanged then.
    """
    gradient = parameters.gradient_flat  # (P,)
    norm = clip.norm(gradient)
    scale = clip.scale(norm, max_norm)
    if devices.on_gpu(scale):
        gradient *= scale
    elif scale < 1:
        gradient *= gradient.dtype.type(scale)
    return norm
