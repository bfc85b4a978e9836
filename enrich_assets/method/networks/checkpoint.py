"""A training between two epochs, as bytes and back.

Random numbers of an epoch depend on (seed, epoch) alone. So a checkpoint at the end of an epoch needs no generator
states, and a resumed training is the uninterrupted one, bit for bit. Checkpoints are safetensors: nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as decode_tensors
from safetensors.torch import save as encode_tensors
from torch import Tensor, nn


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
    """A training between two epochs.

    Attributes
    ----------
    epoch : int
        Epochs done.
    made_of : str
        `fingerprint` of settings, seed and data.
    history : list of dict
        Of the epochs done.
    model, optimizer : dict of str to Tensor
        Their states; the optimizer's keys are "<parameter's index>.<name>".
    best : dict of str to Tensor
        Best weights so far, where a training keeps them.
    """

    epoch: int
    made_of: str
    history: list[dict[str, float]]
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    best: dict[str, Tensor] = field(default_factory=dict)

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
        """The state of a training as it stands."""
        state = optimizer.state_dict()["state"]
        flat = {f"{i}.{key}": value for i, entries in state.items() for key, value in entries.items()}
        kept = {k: torch.as_tensor(v) for k, v in (best or {}).items()}
        return cls(epoch, made_of, history, model.state_dict(), flat, kept)

    def encode(self) -> bytes:
        """safetensors: tensors by name, the rest as JSON in a uint8 tensor."""
        about = json.dumps({"epoch": self.epoch, "made_of": self.made_of, "history": self.history}).encode()
        tensors = {"about": torch.frombuffer(bytearray(about), dtype=torch.uint8)}
        for part, content in (("model", self.model), ("optimizer", self.optimizer), ("best", self.best)):
            for name, value in content.items():
                tensors[f"{part}/{name}"] = value.detach().cpu().contiguous().clone()
        return encode_tensors(tensors)

    @classmethod
    def decode(cls, data: bytes) -> Checkpoint:
        """The checkpoint in these bytes.

        Raises
        ------
        ValueError
            When they are no checkpoint.
        """
        try:
            tensors = decode_tensors(data)
            about = json.loads(bytes(tensors.pop("about").numpy()))
            parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "best": {}}
            for name, value in tensors.items():
                part, _, rest = name.partition("/")
                parts[part][rest] = value
            return cls(about["epoch"], about["made_of"], about["history"], **parts)
        except Exception as problem:
            raise ValueError(f"not a training checkpoint, delete it to start from scratch: {problem}") from problem

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer, made_of: str) -> None:
        """Put the state back into model and optimizer.

        Raises
        ------
        ValueError
            When the checkpoint belongs to another training.
        """
        if self.made_of != made_of:
            raise ValueError(
                "the checkpoint was made with other settings, another seed or other frames; delete it to start from "
                "scratch"
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
