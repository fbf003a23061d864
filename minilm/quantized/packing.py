"""Weights in fewer bits as the registers want them: for each panel of 2W outputs what is read together side by side."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from minilm.quantized import oracle
from minilm.quantized.dot import OFFSET, WIDTH
from minilm.quantized.spec import SMALL_GROUP


class Int8(NamedTuple):
    """W (O, K) in codes of 8 bits."""

    panels: np.ndarray  # (P, K'/4, 2W, 4) uint8, q + 128; K' is K in whole groups, what fills up holds 128
    scales: np.ndarray  # (P, G, 2W) float32
    shape: tuple[int, int]  # (O, K)
    group: int  # a multiple of 4


class Int4(NamedTuple):
    """W (O, K) in codes of 4 bits, two a byte: in the high half that which stands half a group further on."""

    panels: np.ndarray  # (P, K'/8, 2W, 4) uint8; K' is K in whole groups, what fills up holds 0
    scales: np.ndarray  # (P, G, 2W) uint32: scale and least number as float16, in the lower and upper half
    shape: tuple[int, int]  # (O, K)
    group: int  # SMALL_GROUP


class BFloat16(NamedTuple):
    """W (O, K) rounded to bfloat16."""

    panels: np.ndarray  # (P, K, 2W) uint16, zeros where P 2W is more than O
    shape: tuple[int, int]


Packed: TypeAlias = "Int8 | Int4 | BFloat16"


def packed(W: np.ndarray, kind: str, group: int | None) -> Packed:
    """W (O, K) in a format of `FORMATS`; `group` is int8's."""
    if kind == "int8":
        group = group_of(group, W.shape[1])
        return pack_int8(*oracle.quantize(W, group), group)
    if kind == "bf16":
        return pack_bfloat16(oracle.to_bfloat16(W))
    if W.shape[1] < SMALL_GROUP:
        raise ValueError(f"int4 wants rows of at least {SMALL_GROUP} numbers, got a weight of shape {W.shape}")
    if (largest := np.abs(W).max(initial=0)) > np.finfo(np.float16).max:
        raise ValueError(f"int4 wants weights that float16 can hold, up to 65504, got {largest:g}")
    return pack_int4(*oracle.quantize_int4(W))


def group_of(group: int | None, K: int) -> int:
    """Numbers of a group of a row of K: `group`, all of them for None; in fours."""
    longest = -(-K // 4) * 4
    return longest if group is None else min(group, longest)


def _by_panels(rows: np.ndarray) -> np.ndarray:
    """rows (O, n) as (P, n, 2W), zeros where P 2W is more than O."""
    O, n = rows.shape
    P = -(-O // WIDTH)
    whole = np.zeros((P * WIDTH, n), rows.dtype)
    whole[:O] = rows
    return np.ascontiguousarray(whole.reshape(P, WIDTH, n).transpose(0, 2, 1))


def _by_rows(panels: np.ndarray, O: int) -> np.ndarray:
    """The rows (O, n) of panels (P, n, 2W): the inverse of `_by_panels`."""
    P, n, _ = panels.shape
    return np.ascontiguousarray(panels.transpose(0, 2, 1).reshape(P * WIDTH, n)[:O])


def _bytes(words: np.ndarray) -> np.ndarray:
    """(P, n, 2W) words of four bytes as (P, n, 2W, 4)."""
    return words.view(np.uint8).reshape(*words.shape, 4)


def pack_int8(codes: np.ndarray, scales: np.ndarray, group: int) -> Int8:
    """`Int8` of codes (O, K) and scales (O, G), in groups of `group`."""
    O, K = codes.shape
    stored = np.full((-(-O // WIDTH) * WIDTH, scales.shape[1] * group), OFFSET, np.uint8)
    stored[:O, :K] = codes.astype(np.int16) + OFFSET
    return Int8(_bytes(_by_panels(stored.view(np.uint32))), _by_panels(scales), (O, K), group)


def pack_int4(codes: np.ndarray, scales: np.ndarray, least: np.ndarray) -> Int4:
    """`Int4` of codes (O, K) uint8, scales and least numbers (O, G) float16."""
    O, K = codes.shape
    G, half = scales.shape[1], SMALL_GROUP // 2
    whole = np.zeros((O, G * SMALL_GROUP), np.uint8)
    whole[:, :K] = codes
    whole = whole.reshape(O, G, 2, half)
    stored = np.ascontiguousarray(whole[:, :, 0] | whole[:, :, 1] << 4).reshape(O, -1)  # (O, K'/2)
    words = np.ascontiguousarray(np.stack([scales, least], axis=-1)).view(np.uint32)[..., 0]  # (O, G)
    return Int4(_bytes(_by_panels(stored.view(np.uint32))), _by_panels(words), (O, K), SMALL_GROUP)


def pack_bfloat16(bits: np.ndarray) -> BFloat16:
    """`BFloat16` of bits (O, K) uint16."""
    return BFloat16(_by_panels(bits), bits.shape)


def unpacked(weight: Packed) -> tuple[np.ndarray, ...]:
    """What the packing functions took: codes (O, K) and scales (O, G), and int4's least numbers (O, G); or bits (O, K)."""
    (O, K), panels = weight.shape, weight.panels
    if isinstance(weight, BFloat16):
        return (_by_rows(panels, O),)
    stored = _by_rows(panels.view(np.uint32)[..., 0], O).view(np.uint8)  # (O, K') or (O, K'/2)
    scales = _by_rows(weight.scales, O)  # (O, G)
    if isinstance(weight, Int8):
        return (stored[:, :K] ^ OFFSET).view(np.int8), scales  # in 8 bits q + 128 is q with its first bit changed
    halves = stored.reshape(O, -1, 1, SMALL_GROUP // 2)
    codes = np.concatenate([halves & 15, halves >> 4], axis=2).reshape(O, -1)[:, :K]
    return (np.ascontiguousarray(codes), *np.moveaxis(scales.view(np.float16).reshape(O, -1, 2), 2, 0))


def rounded(weight: Packed) -> np.ndarray:
    """The weights (O, K) float32 that are multiplied by."""
    if isinstance(weight, BFloat16):
        return oracle.from_bfloat16(*unpacked(weight))
    if isinstance(weight, Int4):
        return oracle.dequantize_int4(*unpacked(weight))
    return oracle.dequantize(*unpacked(weight), weight.group)
