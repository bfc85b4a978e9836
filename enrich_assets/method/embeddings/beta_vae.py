"""The beta-VAE of Burgess et al., and what is minimised; nothing about how it is trained.

"Understanding disentangling in beta-VAE", arXiv 1804.03599 (appendix A), with ENRICH's 128 latent units.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enrich_assets.method.hyperparameters import VaeSettings

SIDE = 64  # frames are 64x64, as in the paper
START_LOG_VARIANCE = -4.0


def as_input(frames: Tensor) -> Tensor:
    """(b, 64, 64) uint8 -> (b, 1, 64, 64) float32 in 0..1."""
    return (frames.to(torch.float32) / 255).unsqueeze(1).contiguous(memory_format=torch.channels_last)


class BetaVae(nn.Module):
    """(b, 1, 64, 64) in 0..1 -> logits of the pixels, mean and log-variance of the bottleneck.

    Parameters
    ----------
    latent : int
        Units of the bottleneck.
    channels : int
        Of each convolution.
    hidden : int
        Units of each dense layer.

    References
    ----------
    Burgess et al., arXiv 1804.03599, appendix A.
    """

    def __init__(self, latent: int = 128, channels: int = 32, hidden: int = 256) -> None:
        super().__init__()
        c, flat = channels, channels * 4 * 4
        self.channels = channels
        halvings: list[nn.Module] = []
        for c_in in (1, c, c, c):
            halvings += [nn.Conv2d(c_in, c, 4, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*halvings)
        self.squeeze = nn.Sequential(
            nn.Linear(flat, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * latent),
        )
        self.expand = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, flat),
        )
        doublings: list[nn.Module] = []
        for c_out in (c, c, c, 1):
            doublings += [nn.ReLU(), nn.ConvTranspose2d(c, c_out, 4, stride=2, padding=1)]
        self.decoder = nn.Sequential(*doublings)
        self.start()

    def start(self) -> None:
        """Draw start weights with which learning starts at once.

        Torch's default shrinks the signal layer by layer, and the training idles for hundreds of steps at
        the mean image with a constant posterior (measured on the lung clips); He et al. 2015 keeps the
        variance. The posterior starts narrow, so that the decoder first hears the image and not the noise.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            elif isinstance(layer, nn.ConvTranspose2d):
                # An output pixel of a 4x4 kernel at stride 2 sums over 2x2 taps of each channel.
                nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.in_channels * 4)))
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        heads = self.squeeze[-1]
        assert isinstance(heads, nn.Linear)
        latent = heads.out_features // 2
        with torch.no_grad():
            heads.weight[latent:] *= 0.1
            heads.bias[latent:] = START_LOG_VARIANCE

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.encoder(x)  # (b, 32, 32, 32) -> (b, 32, 16, 16) -> (b, 32, 8, 8) -> (b, 32, 4, 4)
        y = self.squeeze(y.flatten(1))  # (b, 512) -> (b, 256) -> (b, 256) -> (b, 256)
        mean, log_variance = y.chunk(2, dim=1)  # (b, 128) each
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        y = self.expand(z).view(-1, self.channels, 4, 4)  # (b, 128) -> (b, 32, 4, 4)
        return self.decoder(y.contiguous(memory_format=torch.channels_last))  # -> (b, 1, 64, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decode(z), mean, log_variance


def vae_losses(logits: Tensor, x: Tensor, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstruction (Bernoulli, summed over the pixels) and KL from N(0, 1): nats per frame, 0-d.

    Parameters
    ----------
    logits, x : (b, 1, 64, 64) float
        Of the decoder, and the frames in 0..1.
    mean, log_variance : (b, latent) float
        Of the posterior.
    """
    b = x.shape[0]
    reconstruction = F.binary_cross_entropy_with_logits(logits.float(), x, reduction="sum") / b
    mean, log_variance = mean.float(), log_variance.float()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / b
    return reconstruction, kl


def objective(reconstruction: Tensor, kl: Tensor, step: int, settings: VaeSettings) -> Tensor:
    """What is minimised: reconstruction + beta KL (`plain`), or reconstruction + gamma |KL - C| (`capacity`).

    Parameters
    ----------
    reconstruction, kl : Tensor
        Nats per frame, 0-d.
    step : int
        Steps taken so far; C rises linearly with them.
    settings : VaeSettings

    References
    ----------
    `capacity` is equation 8 of Burgess et al., arXiv 1804.03599.
    """
    if settings.loss == "plain":
        return reconstruction + settings.beta * kl
    capacity = settings.capacity * min(1.0, step / settings.capacity_steps)
    return reconstruction + settings.gamma * (kl - capacity).abs()
