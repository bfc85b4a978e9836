"""Where tensors live: CUDA where there is one, else the CPU. Nothing else about devices belongs here."""

from __future__ import annotations

import torch


def pick(device: str | torch.device | None = None) -> torch.device:
    """The named device; without a name CUDA if present, else the CPU.

    Raises
    ------
    RuntimeError
        From torch, for a name that is none of a device.
    """
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
