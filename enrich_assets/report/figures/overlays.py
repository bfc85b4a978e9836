"""Masks over frames: image, truth and prediction side by side, as a PNG strip for MLflow and the UI."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

# Okabe and Ito's colours, readable by colour-blind people; the background stays as it is.
COLOURS = np.array(
    [
        (0, 0, 0),
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
    ],
    np.float64,
)
OPACITY = 0.55
LEAST_SIDE = 128  # small frames are enlarged to this many pixels


def overlay(frame: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame with each structure tinted, colours repeating after seven.

    Parameters
    ----------
    frame : (h, w) uint8
        Grey values.
    mask : (h, w) uint8
        Class indices, 0 for the background.

    Returns
    -------
    (h, w, 3) uint8
        Red, green, blue.
    """
    colour = COLOURS[np.where(mask == 0, 0, (mask.astype(int) - 1) % (len(COLOURS) - 1) + 1)]
    grey = np.repeat(frame[..., None].astype(np.float64), 3, axis=-1)
    share = np.where(mask > 0, OPACITY, 0.0)[..., None]
    return np.rint(grey * (1 - share) + colour * share).astype(np.uint8)


def masks_png(
    frames: NDArray[np.uint8], truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: list[str]
) -> bytes:
    """A row per frame: the image, the true masks, the predicted masks; the structures named below.

    Parameters
    ----------
    frames : (n, h, w) uint8
        Grey values.
    truth, predicted : (n, h, w) uint8
        Class indices, 0 for the background.
    classes : list of str
        Names of the classes, background first.

    Returns
    -------
    bytes
        PNG.
    """
    factor = max(1, -(-LEAST_SIDE // frames.shape[1]))
    rows = []
    for frame, true, guess in zip(frames, truth, predicted, strict=True):
        plain = np.repeat(frame[..., None], 3, axis=-1)
        row = np.concatenate([plain, overlay(frame, true), overlay(frame, guess)], axis=1)
        rows.append(row.repeat(factor, axis=0).repeat(factor, axis=1))
    picture = Image.fromarray(np.concatenate(rows, axis=0))
    labelled = Image.new("RGB", (picture.width, picture.height + 44), (255, 255, 255))
    labelled.paste(picture, (0, 22))
    draw = ImageDraw.Draw(labelled)
    for column, title in enumerate(("image", "truth", "prediction")):
        draw.text((column * picture.width // 3 + 4, 5), title, fill=(0, 0, 0))
    x = 4
    for index, name in enumerate(classes[1:]):
        colour = tuple(int(c) for c in COLOURS[index % (len(COLOURS) - 1) + 1])
        draw.rectangle((x, picture.height + 28, x + 10, picture.height + 38), fill=colour)
        draw.text((x + 14, picture.height + 27), name, fill=(0, 0, 0))
        x += 22 + 7 * len(name)
    buffer = io.BytesIO()
    labelled.save(buffer, "PNG")
    return buffer.getvalue()
