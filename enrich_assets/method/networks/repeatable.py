"""The same arguments give the same weights, bit for bit: seeds, deterministic kernels, where a model and its data lie.

What every training and prediction here shares, of any network; the loop stands in `training`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

START, EPOCH, HELD_OUT = 0, 1, 2  # purposes of a derived seed


def derived_seed(seed: int, *purpose: int) -> int:
    """A 63-bit seed for one purpose (an epoch, the start weights), independent of all others of the same seed."""
    words = np.random.SeedSequence([seed & 0xFFFFFFFFFFFFFFFF, *purpose]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Inside, torch's generators may be seeded at will (the caller's are given back) and cuDNN is deterministic."""
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        yield


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU, torch computes with one thread inside; a GPU does not mind.

    The cells of a grid are many and small: side by side on a core each they are done sooner than one after the other
    on all cores (at the paper's settings a second passive thread saved a quarter of a step), and a cell gives the same
    bits beside others, by itself, and whatever the number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if device.type == "cpu" else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 where a GPU multiplies; plain float32 on a CPU, where it would be slower and less exact."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def device_name(device: torch.device) -> str:
    """ "cpu", or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on the device, channels last: how convolutions like their memory best, on CPU and GPU."""
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def build(make: Callable[[], nn.Module], seed: int, device: torch.device) -> nn.Module:
    """The model with start weights drawn from the seed, on the CPU (the same on every device), then moved."""
    torch.manual_seed(derived_seed(seed, START))
    return placed(make(), device)


def resident(array: NDArray[Any], device: torch.device) -> Tensor:
    """A copy on the device (copied on the CPU too: read-only arrays are welcome)."""
    return torch.from_numpy(np.array(array)).to(device)


def as_frames(images: NDArray[np.uint8], name: str = "images") -> NDArray[np.uint8]:
    """The images as C-ordered (n, h, w) uint8, or a ValueError that says what came instead."""
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"{name} must be (n, h, w) uint8, not {images.shape} {images.dtype}")
    return np.ascontiguousarray(images)


def state_arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    """The model's state as contiguous numpy arrays."""
    return {k: v.detach().cpu().contiguous().numpy().copy() for k, v in model.state_dict().items()}


def load_arrays(model: nn.Module, weights: dict[str, Any]) -> nn.Module:
    """Put arrays (or tensors) into the model.

    Raises
    ------
    ValueError
        When names or shapes do not fit.
    """
    tensors = {k: torch.as_tensor(np.array(v)) for k, v in weights.items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as problem:
        raise ValueError(f"the weights do not fit the model that the settings describe: {problem}") from problem
    return model
