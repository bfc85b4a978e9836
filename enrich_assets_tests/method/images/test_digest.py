"""A digest stands for the pixels and their shape, for ever."""

from __future__ import annotations

import numpy as np

from enrich_assets.method.images.digest import pixel_digest, pixel_digests
from enrich_assets_tests.method.images.pictures import noise


def test_a_digest_stands_for_the_pixels_and_their_shape() -> None:
    frames = noise(3, 6, 4)
    digests = pixel_digests(frames)
    assert len(set(digests)) == 3
    assert digests[1] == pixel_digest(frames[1].copy(order="F"))
    assert pixel_digest(frames[0]) != pixel_digest(frames[0].reshape(4, 6))
    flipped = frames[0].copy()
    flipped[5, 3] ^= 1
    assert pixel_digest(flipped) != digests[0]
    # shape as "2x2:", then the bytes: fixed for ever, since stored digests are compared with new ones
    assert pixel_digest(np.zeros((2, 2), np.uint8)) == (
        "6721231bea7689c6a4a7632650f54b1dde18e72e1bf517531d2f049ed1721cee"
    )
