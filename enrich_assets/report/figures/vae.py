"""How the VAE trained, and its reconstructions. Drawing only; whether it is healthy: `method/embeddings/health`."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.report.figures.style import (
    BLUE,
    INK,
    MEDIUM,
    PAPER,
    SMALL,
    VERMILLION,
    WIDTH,
    new_figure,
    nothing,
    plain_axes,
)


def vae_curves_figure(history: pd.DataFrame) -> Figure:
    """Loss, reconstruction and KL by step, on the train frames and on the held-out patients.

    Parameters
    ----------
    history : pandas.DataFrame
        Columns step and any of loss, reconstruction, kl and their held_out_ counterparts, in nats per frame.

    Returns
    -------
    matplotlib.figure.Figure
    """
    terms = [n for n in ("loss", "reconstruction", "kl") if n in history or f"held_out_{n}" in history]
    if history.empty or not terms:
        return nothing("no training curve")
    names = {"loss": "loss", "reconstruction": "reconstruction", "kl": "KL divergence"}
    figure = new_figure(WIDTH, 3.3)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(terms), squeeze=False)[0]), terms, strict=True):
        plain_axes(axes)
        if name in history:
            axes.plot(history["step"], history[name], color=BLUE, linewidth=2.2, label="train frames")
        if f"held_out_{name}" in history:
            held_out = history[f"held_out_{name}"]
            axes.plot(
                history["step"],
                held_out,
                color=VERMILLION,
                linewidth=2.2,
                linestyle=(0, (5, 2)),
                label="held-out patients",
            )
            if name == "loss" and held_out.notna().any():
                best = held_out.idxmin()
                axes.plot(
                    history["step"][best],
                    held_out[best],
                    "o",
                    color=VERMILLION,
                    markersize=9,
                    markeredgecolor=PAPER,
                )
        axes.set_title(names[name], loc="left", fontsize=MEDIUM, color=INK, weight="bold")
        axes.set_xlabel("step", fontsize=SMALL)
    figure.axes[0].set_ylabel("nats per frame", fontsize=SMALL)
    figure.axes[0].legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    return figure


def reconstructions_png(frames: NDArray[np.uint8], reconstructions: NDArray[np.uint8]) -> bytes:
    """Frames above, their reconstructions below, side by side.

    Parameters
    ----------
    frames, reconstructions : (n, h, w) uint8
        Grey values.

    Returns
    -------
    bytes
        PNG.

    Raises
    ------
    ValueError
        If the shapes differ or are not (n, h, w).
    """
    if frames.shape != reconstructions.shape or frames.ndim != 3:
        raise ValueError(f"frames {frames.shape} and reconstructions {reconstructions.shape} must be alike, (n, h, w)")
    gap = max(2, frames.shape[2] // 16)
    pairs = [
        np.concatenate([f, np.full((gap, f.shape[1]), 128, np.uint8), r])
        for f, r in zip(frames, reconstructions, strict=True)
    ]
    between = np.full((pairs[0].shape[0], gap), 128, np.uint8) if pairs else np.zeros((1, 1), np.uint8)
    strip = np.concatenate([part for p in pairs for part in (p, between)][:-1], axis=1) if pairs else between
    out = io.BytesIO()
    Image.fromarray(strip).save(out, format="PNG", optimize=True)
    return out.getvalue()
