"""What every training here shares: the schedule, the loop over epochs, checkpoints, and repeatability.

Data lie on the device as uint8 and batches are gathered there; the models, their losses and their data
belong in `classification`, `segmentation` and `vae`.

Random numbers of an epoch depend on (seed, epoch) alone. So a checkpoint at the end of an epoch needs no
generator states, and a resumed training is the uninterrupted one, bit for bit. Checkpoints are
safetensors: nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as decode_tensors
from safetensors.torch import save as encode_tensors
from torch import Tensor, nn

Progress = Callable[[int, int, dict[str, float]], None]
Save = Callable[[bytes], None]
Drops = tuple[tuple[int, float], ...]

CHECKPOINT_STEPS = 500  # an epoch that ends this many steps after the last checkpoint makes one


@dataclass(frozen=True)
class TrainedModel:
    """What a training leaves behind."""

    weights: dict[str, NDArray[Any]]  # name -> array, on the CPU; the model's state, normalisation included
    history: list[dict[str, float]]  # one entry per epoch
    device: str  # what it ran on: "cpu", or the name of the GPU


@dataclass(frozen=True)
class Schedule:
    """How long, in which portions, and at which learning rates."""

    epochs: int
    batch_size: int
    learning_rate: float
    drops: Drops = ()  # (epoch, learning rate from then on), ascending
    min_steps: int = 0  # a small subset is passed over more often, until this many steps are done

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0 or self.min_steps < 0:
            raise ValueError("epochs, batch_size and learning_rate must be positive, min_steps not negative")
        if [epoch for epoch, _ in self.drops] != sorted({epoch for epoch, _ in self.drops}):
            raise ValueError(f"learning-rate drops must stand in ascending order of epochs: {self.drops}")

    def epochs_for(self, n: int) -> int:
        """Passes over n frames: `epochs`, or as many as `min_steps` asks for."""
        return max(self.epochs, math.ceil(self.min_steps / len(batches_of(n, self.batch_size))))

    def rate(self, epoch: int, n: int) -> float:
        """Learning rate of an epoch (from 0). Where `min_steps` stretches the training, the drops stretch
        too."""
        stretch = self.epochs_for(n) / self.epochs
        rate = self.learning_rate
        for at, lower in self.drops:
            if epoch >= at * stretch:
                rate = lower
        return rate


class Scheduled(Protocol):
    """Settings that say how long to train."""

    @property
    def epochs(self) -> int: ...
    @property
    def min_steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def drops(self) -> Drops: ...


def schedule_of(settings: Scheduled) -> Schedule:
    return Schedule(settings.epochs, settings.batch_size, settings.learning_rate, settings.drops, settings.min_steps)


def batches_of(n: int, batch_size: int) -> list[tuple[int, int]]:
    """(start, end) of each batch of an epoch. A last batch of one joins the batch before it.

    Batch norm cannot normalise one sample; a subset of a single frame is the caller's to double.
    Raises ValueError for n = 0.
    """
    if n < 1:
        raise ValueError("there is no frame to train on")
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))


def derived_seed(seed: int, *purpose: int) -> int:
    """A 63-bit seed for one purpose (an epoch, the start weights), independent of all others of the same
    seed."""
    words = np.random.SeedSequence([seed & 0xFFFFFFFFFFFFFFFF, *purpose]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


START, EPOCH, HELD_OUT = 0, 1, 2  # purposes of a derived seed


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Inside, torch's generators may be seeded at will (the caller's are given back) and cuDNN is
    deterministic."""
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
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on the device, channels last: how convolutions like their memory best, on CPU and GPU."""
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def build(make: Callable[[], nn.Module], seed: int, device: torch.device) -> nn.Module:
    """The model with start weights drawn from the seed, on the CPU (the same on every device), then moved."""
    torch.manual_seed(derived_seed(seed, START))
    return placed(make(), device)


def adam(model: nn.Module, learning_rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)


def state_arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    """The model's state as contiguous numpy arrays."""
    return {k: v.detach().cpu().contiguous().numpy().copy() for k, v in model.state_dict().items()}


def load_arrays(model: nn.Module, weights: dict[str, Any]) -> nn.Module:
    """Put arrays (or tensors) into the model. Raises ValueError when names or shapes do not fit."""
    tensors = {k: torch.as_tensor(np.array(v)) for k, v in weights.items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as problem:
        raise ValueError(f"the weights do not fit the model that the settings describe: {problem}") from problem
    return model


def fingerprint(*parts: object) -> str:
    """Digest of what a training is made of: settings (by repr) and arrays (by content)."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()


@dataclass
class Checkpoint:
    """A training between two epochs, as bytes and back."""

    epoch: int  # epochs done
    made_of: str  # fingerprint of settings, seed and data
    history: list[dict[str, float]]
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    best: dict[str, Tensor] = field(default_factory=dict)  # best weights so far, where a training keeps them

    @classmethod
    def of(
        cls,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        epoch: int,
        made_of: str,
        history: list[dict[str, float]],
        best: dict[str, NDArray[Any]] | None = None,
    ) -> Checkpoint:
        state = optimizer.state_dict()["state"]
        flat = {f"{i}.{key}": value for i, entries in state.items() for key, value in entries.items()}
        kept = {k: torch.as_tensor(v) for k, v in (best or {}).items()}
        return cls(epoch, made_of, history, model.state_dict(), flat, kept)

    def encode(self) -> bytes:
        """safetensors: tensors by name, the rest as JSON in a uint8 tensor."""
        about = json.dumps({"epoch": self.epoch, "made_of": self.made_of, "history": self.history}).encode()
        tensors = {"about": torch.frombuffer(bytearray(about), dtype=torch.uint8)}
        for room, content in (("model", self.model), ("optimizer", self.optimizer), ("best", self.best)):
            for name, value in content.items():
                tensors[f"{room}/{name}"] = value.detach().cpu().contiguous().clone()
        return encode_tensors(tensors)

    @classmethod
    def decode(cls, data: bytes) -> Checkpoint:
        """Raises ValueError when the bytes are no checkpoint."""
        try:
            tensors = decode_tensors(data)
            about = json.loads(bytes(tensors.pop("about").numpy()))
            rooms: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "best": {}}
            for name, value in tensors.items():
                room, _, rest = name.partition("/")
                rooms[room][rest] = value
            return cls(about["epoch"], about["made_of"], about["history"], **rooms)
        except Exception as problem:
            raise ValueError(f"not a training checkpoint, delete it to start afresh: {problem}") from problem

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer, made_of: str) -> None:
        """Raises ValueError when the checkpoint belongs to another training."""
        if self.made_of != made_of:
            raise ValueError(
                "the checkpoint was made with other settings, another seed or other frames; delete it to start afresh"
            )
        model.load_state_dict(self.model)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in self.optimizer.items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            # The fused optimizer walks memory, so a moment must lie in memory as its parameter does
            # (channels-last).
            if value.shape == parameter.shape:
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


BatchLoss = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]


def run_epochs(
    model: nn.Module,
    batch_loss: BatchLoss,
    n: int,
    schedule: Schedule,
    *,
    seed: int,
    device: torch.device,
    made_of: str = "",
    progress: Progress | None = None,
    resume: bytes | None = None,
    save: Save | None = None,
    checkpoint_steps: int = CHECKPOINT_STEPS,
) -> list[dict[str, float]]:
    """Train in place. Call inside `repeatable`.

    batch_loss(indices): indices (b,) int64 on the device -> mean loss of the batch (differentiable) and
    further means to keep in the history (0-d tensors).   n: frames.   save: called with a checkpoint at
    the end of an epoch, once `checkpoint_steps` steps were made since the last; resume: such a checkpoint.
    Returns the history, an entry per epoch: epoch, learning_rate, loss and the means.
    """
    optimizer = adam(model, schedule.learning_rate)
    history: list[dict[str, float]] = []
    if resume is not None:
        checkpoint = Checkpoint.decode(resume)
        checkpoint.restore(model, optimizer, made_of)
        history = checkpoint.history
    epochs = schedule.epochs_for(n)
    portions = batches_of(n, schedule.batch_size)
    unsaved = 0
    model.train()
    for epoch in range(len(history), epochs):
        rate = schedule.rate(epoch, n)
        for group in optimizer.param_groups:
            group["lr"] = rate
        epoch_seed = derived_seed(seed, EPOCH, epoch)
        order = torch.from_numpy(np.random.default_rng(epoch_seed).permutation(n)).to(device)
        torch.manual_seed(epoch_seed)
        sums: dict[str, Tensor] = {}
        for start, end in portions:
            loss, means = batch_loss(order[start:end])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            # Summed on the device: reading a number per step would stall a GPU.
            for name, value in {"loss": loss, **means}.items():
                weighted = value.detach() * (end - start)
                sums[name] = sums[name] + weighted if name in sums else weighted
        entry = {"epoch": float(epoch), "learning_rate": rate}
        entry |= {name: float(value) / n for name, value in sums.items()}
        history.append(entry)
        if not math.isfinite(entry["loss"]):
            raise FloatingPointError(f"the loss became {entry['loss']} in epoch {epoch}; lower the learning rate")
        unsaved += len(portions)
        if save is not None and unsaved >= checkpoint_steps and epoch + 1 < epochs:
            unsaved = 0
            save(Checkpoint.of(model, optimizer, epoch + 1, made_of, history).encode())
        if progress is not None:
            progress(epoch + 1, epochs, {k: v for k, v in entry.items() if k != "epoch"})
    return history


def as_frames(images: NDArray[np.uint8], name: str = "images") -> NDArray[np.uint8]:
    """The door: (n, h, w) uint8 or a ValueError that says what came instead."""
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"{name} must be (n, h, w) uint8, not {images.shape} {images.dtype}")
    return np.ascontiguousarray(images)


def resident(array: NDArray[Any], device: torch.device) -> Tensor:
    """A copy on the device (copied on the CPU too: read-only arrays are welcome)."""
    return torch.from_numpy(np.array(array)).to(device)


def chunks(n: int, size: int) -> Sequence[tuple[int, int]]:
    """(start, end) of consecutive portions for prediction, where no batch norm minds a portion of one."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]
