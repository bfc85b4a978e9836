"""A plain U-Net, written independently of our networks: what a segmentation of the same size can be trained to.

Nothing here comes from `enrich_assets.method`: an ordinary script, as anyone would write it. Convolutions of the same widths with batch
norm, Adam at 1e-3, cross-entropy plus soft Dice; the learning rate is halved where the held-out patients stop improving, and the
training ends after three such times. The weights of the best held-out Jaccard are kept.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Images = NDArray[np.uint8]


def block(c_in: int, c_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in ((c_in, c_out), (c_out, c_out)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class PlainUNet(nn.Module):
    """(b, 1, s, s) -> (b, n_classes, s, s); s a multiple of 2 per level."""

    def __init__(self, n_classes: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(block(a, b) for a, b in zip((1, *channels[:-1]), channels, strict=True))
        below = channels[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in itertools.pairwise(below))
        self.decoder = nn.ModuleList(block(2 * b, b) for b in below[1:])
        self.head = nn.Conv2d(channels[0], n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for depth, layer in enumerate(self.encoder):
            x = layer(x if depth == 0 else F.max_pool2d(x, 2))
            kept.append(x)
        kept.pop()
        for up, layer in zip(self.up, self.decoder, strict=True):
            x = layer(torch.cat([kept.pop(), up(x)], dim=1))
        return self.head(x)


def mean_jaccard(truth: Images, predicted: Images, n_classes: int) -> float:
    """Mean over the structures of a frame that truth or prediction holds, then over the frames that have any."""
    scores = []
    for t, p in zip(truth, predicted, strict=True):
        unions = {code: int(((t == code) | (p == code)).sum()) for code in range(1, n_classes)}
        overlaps = [int(((t == code) & (p == code)).sum()) / union for code, union in unions.items() if union]
        if overlaps:
            scores.append(float(np.mean(overlaps)))
    return float(np.mean(scores))


@dataclass(frozen=True)
class Result:
    """steps, best_step : taken, and of the weights that were kept.   held_out, test : Jaccard."""

    steps: int
    best_step: int
    held_out: float
    test: float


def train_until_it_stops(
    images: Images,
    masks: Images,
    patients: NDArray[np.str_],
    test_images: Images,
    test_masks: Images,
    n_classes: int,
    channels: tuple[int, ...],
    *,
    seed: int,
    max_steps: int = 20_000,
    evaluate_every: int = 50,
    patience: int = 10,
) -> Result:
    """Train on four fifths of the patients, watch the others, score the test frames once.

    images, masks, test_images, test_masks: (n, s, s) uint8.   patients: (n,).   patience: evaluations without a better Jaccard before
    the learning rate is halved.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    people = rng.permutation(np.unique(patients))
    watched = np.isin(patients, people[: max(1, len(people) // 5)])
    x, y = to_tensor(images[~watched]), torch.from_numpy(masks[~watched].astype(np.int64))
    model = PlainUNet(n_classes, channels)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    best, best_step, best_state, since, halvings, step = -1.0, 0, None, 0, 0, 0
    while step < max_steps and halvings < 3:
        for at in torch.from_numpy(rng.permutation(len(x))).split(8):
            model.train()
            loss = loss_of(model(x[at]), y[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % evaluate_every:
                continue
            score = mean_jaccard(masks[watched], predict(model, images[watched]), n_classes)
            if score > best:
                best, best_step, best_state, since = score, step, copy.deepcopy(model.state_dict()), 0
            else:
                since += 1
            if since >= patience:
                since, halvings = 0, halvings + 1
                for group in optimizer.param_groups:
                    group["lr"] /= 2
            if halvings >= 3 or step >= max_steps:
                break
    assert best_state is not None
    model.load_state_dict(best_state)
    return Result(step, best_step, best, mean_jaccard(test_masks, predict(model, test_images), n_classes))


def to_tensor(images: Images) -> Tensor:
    return torch.from_numpy(images.astype(np.float32) / 255).unsqueeze(1)


def loss_of(logits: Tensor, truth: Tensor) -> Tensor:
    p = logits.softmax(1)[:, 1:]
    t = F.one_hot(truth, logits.shape[1]).movedim(-1, 1)[:, 1:].float()
    dice = (2 * (p * t).sum((0, 2, 3)) + 1) / ((p + t).sum((0, 2, 3)) + 1)
    return F.cross_entropy(logits, truth) + 1 - dice.mean()


@torch.inference_mode()
def predict(model: nn.Module, images: Images) -> Images:
    model.eval()
    parts = [model(part).argmax(1).to(torch.uint8) for part in to_tensor(images).split(32)]
    return torch.cat(parts).numpy()
