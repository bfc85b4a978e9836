"""A frame on its way into a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.frame_names import image_name


@dataclass(frozen=True)
class Item:
    """A frame to be written.

    Attributes
    ----------
    frame_id : str
    position : int
        From 0; the names of the files begin with it.
    split : str
        train or test.
    pixels : (h, w) uint8
    label : str, optional
        Its class; None where it has none.
    mask : (h, w) uint8, optional
        Class indices; None where it has none.
    columns : mapping
        What else the table says of it.
    """

    frame_id: str
    position: int
    split: str
    pixels: NDArray[np.uint8]
    label: str | None = None
    mask: NDArray[np.uint8] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its file."""
        return image_name(self.frame_id, self.position)
