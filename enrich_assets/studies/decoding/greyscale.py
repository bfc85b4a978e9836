"""From whatever a decoder yields to greyscale of 8 bits. Arrays in, arrays out; files are opened elsewhere."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_CODES = {
    ("RGB", 3): cv2.COLOR_RGB2GRAY,
    ("RGB", 4): cv2.COLOR_RGBA2GRAY,
    ("BGR", 3): cv2.COLOR_BGR2GRAY,
    ("BGR", 4): cv2.COLOR_BGRA2GRAY,
}


def to_grey(image: NDArray, order: str = "RGB") -> NDArray:
    """One channel from one, two (grey, alpha), three or four (colour, alpha), by OpenCV's weights.

    Parameters
    ----------
    image : (h, w) or (h, w, c) uint8 or uint16
        What alpha makes transparent becomes black.
    order : {'RGB', 'BGR'}
        Of the colours.

    Returns
    -------
    (h, w), of the same dtype

    Raises
    ------
    ValueError
        Another number of channels.
    """
    if image.ndim == 2:
        return image
    channels = image.shape[2]
    if channels in (1, 2):
        grey = image[:, :, 0]
    elif channels in (3, 4):
        grey = cv2.cvtColor(np.ascontiguousarray(image), _CODES[order, channels])
    else:
        raise ValueError(f"{channels} channels")
    if channels in (2, 4):
        alpha = image[:, :, -1]
        most = np.iinfo(image.dtype).max
        if alpha.min(initial=most) < most:
            grey = np.round(grey * (alpha / most)).astype(image.dtype)
    return grey


def to_eight_bits(pixels: NDArray) -> NDArray[np.uint8]:
    """uint8 from any real dtype, one scale for the whole array so that frames of a clip keep their relation.

    Parameters
    ----------
    pixels : array of any shape
        bool becomes 0 and 255. Unsigned integers are scaled from the smallest of 8, 10, 12, 14, 16, 32, 64 bits that holds
        them, since 12-bit data in 16-bit files would otherwise be black. Floats within [0, 1] count as shares; everything
        else is stretched from its least to its greatest finite value.

    Returns
    -------
    uint8, of the same shape
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "u":
        most = int(pixels.max(initial=0))
        bits = next(b for b in (8, 10, 12, 14, 16, 32, 64) if most < 1 << b)
        return (pixels >> np.array(bits - 8, pixels.dtype)).astype(np.uint8)
    values = np.nan_to_num(pixels.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    if pixels.dtype.kind == "f" and low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    if high <= low:
        return np.zeros(pixels.shape, np.uint8)
    return np.round((values - low) * (255.0 / (high - low))).astype(np.uint8)
