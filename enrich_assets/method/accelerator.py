"""Is there an accelerator for exact integer work, and is the pool worth waking it? For `similarity`, `ranking`, `coverage`.

Where models live is `device`'s matter. torch is imported only where it could answer yes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WORTH_WAKING = 4000  # frames up to which the CPU is done before CUDA has begun


def accelerator_for(n: int, device: str | torch.device | None) -> torch.device | None:
    """The CUDA device to use for n frames; None for the CPU, which is also where any other kind of device sends us.

    device: as given by the caller; None: CUDA where there is one and n is large.
    """
    if device is None and n <= WORTH_WAKING:
        return None
    from enrich_assets.method.device import pick

    found = pick(device)
    # Only CUDA promises float32 products that do not round: other backends lower the precision as they like.
    return found if found.type == "cuda" else None
