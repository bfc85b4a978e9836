"""Is there an accelerator for exact integer work, and is the pool worth waking it? Asked by `pairs` and `ranking`.

Where models live is `device`'s matter. torch is imported only where it could answer yes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WORTH_WAKING = 4000  # frames up to which the CPU is done before CUDA has begun


def accelerator_for(n: int, device: str | torch.device | None) -> torch.device | None:
    """The CUDA device to use for n frames.

    Parameters
    ----------
    n : int
        Frames of the pool.
    device : str or torch.device, optional
        As the caller gave it; without it CUDA, where there is one and n is large.

    Returns
    -------
    torch.device or None
        None for the CPU, which is also where any device of another kind leads.
    """
    if device is None and n <= WORTH_WAKING:
        return None
    from enrich_assets.method.device import pick

    picked = pick(device)
    # Only CUDA promises float32 products that do not round: other backends lower the precision as they like.
    return picked if picked.type == "cuda" else None
