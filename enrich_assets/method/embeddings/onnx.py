"""A network from an ONNX file as an embedding: frames in, one vector a frame out.

The file comes as bytes; where it lies is not known here. Needs onnxruntime (`pip install 'enrich-assets[onnx]'`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.hyperparameters import OnnxEmbedding
from enrich_assets.method.networks.trained import Progress

INSTALL = "onnxruntime is not installed: pip install 'enrich-assets[onnx]'"
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


class OnnxModel:
    """A network, checked against the settings before it sees a frame.

    Parameters
    ----------
    content : bytes
        Of the ONNX file, its weights within.
    settings : OnnxEmbedding

    Raises
    ------
    ValueError
        With what to change: a file that is no ONNX model, or keeps its weights in another file; another input size or
        number of channels than the settings say; more than one input; no output of that name.

    Notes
    -----
    On the CPU, with optimisations that do not depend on its model, and always the same number of frames at a time, so that a
    frame's vector does not depend on its company. Another CPU may still round another way in the last bits: vectors are
    computed once and stored, in fixed point.
    """

    def __init__(self, content: bytes, settings: OnnxEmbedding) -> None:
        self._settings = settings
        self._session = _session(content)
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(
                f"takes {len(inputs)} inputs ({', '.join(i.name for i in inputs)}), one is needed: pictures. "
                "Export the image encoder alone"
            )
        self._input = inputs[0]
        if self._input.type not in TYPES:
            raise ValueError(
                f"takes {self._input.type}, not floating-point pictures: export it without quantised inputs"
            )
        self._channels_last = _channels_last(list(self._input.shape), settings)
        first = self._input.shape[0]
        self._batch = first if isinstance(first, int) and first > 0 else settings.batch
        names = [output.name for output in self._session.get_outputs()]
        if settings.output is not None and settings.output not in names:
            raise ValueError(f"has no output {settings.output!r}; outputs: {', '.join(names)}")
        self._output = settings.output or names[0]

    def embed(self, frames: NDArray[np.uint8], *, progress: Progress | None = None) -> NDArray[np.float32]:
        """Vectors of frames, not normalised.

        Parameters
        ----------
        frames : (n, size, size) uint8
        progress : callable, optional
            Called after each batch with (frames done, n, {}).

        Returns
        -------
        (n, d) float32

        Raises
        ------
        ValueError
            For frames of another size, or an output that is no vector a frame.
        """
        size, n = self._settings.size, len(frames)
        if frames.shape[1:] != (size, size):
            raise ValueError(f"frames must be (n, {size}, {size}), not {frames.shape}")
        parts: list[NDArray[np.float32]] = []
        filled = np.zeros((self._batch, size, size), np.uint8)
        for at in range(0, n, self._batch):
            some = frames[at : at + self._batch]
            filled[: len(some)], filled[len(some) :] = some, 0
            parts.append(self._vectors(filled)[: len(some)])
            if progress is not None:
                progress(at + len(some), n, {})
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def _vectors(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = as_pictures(frames, self._settings, channels_last=self._channels_last).astype(TYPES[self._input.type])
        try:
            (given,) = self._session.run([self._output], {self._input.name: x})
        except Exception as error:  # whatever the runtime has to say
            raise ValueError(f"cannot be run on {x.shape[1:]} pictures: {_first_line(error)}") from error
        vectors = pooled(np.asarray(given), self._settings.pool, channels_last=self._channels_last)
        if len(vectors) != len(frames):
            raise ValueError(
                f"output {self._output!r} has shape {np.shape(given)} for {len(frames)} frames: not one vector a frame"
            )
        return vectors.astype(np.float32)


def as_pictures(
    frames: NDArray[np.uint8], settings: OnnxEmbedding, *, channels_last: bool = False
) -> NDArray[np.float32]:
    """Grey frames as the network wants them: (x / 255 - mean) / std, in each channel.

    Parameters
    ----------
    frames : (n, h, w) uint8
    settings : OnnxEmbedding
    channels_last : bool
        (n, h, w, c) instead of (n, c, h, w).

    Returns
    -------
    (n, c, h, w) or (n, h, w, c) float32
    """
    mean, std = (np.asarray(values, np.float32) for values in settings.normalisation)
    grey = frames.astype(np.float32)[..., None] / np.float32(255)
    pictures = (grey - mean) / std  # (n, h, w, c)
    return pictures if channels_last else np.ascontiguousarray(np.moveaxis(pictures, -1, 1))


def pooled(output: NDArray[Any], pool: str, *, channels_last: bool = False) -> NDArray[Any]:
    """One vector a frame, of whatever a network gives.

    Parameters
    ----------
    output : (n, d), (n, tokens, d), (n, d, h, w), or (n, h, w, d) with `channels_last`
    pool : {"mean", "first", "max"}
        Over tokens or places; "first" is the first token (of a vision transformer: its class token).
    channels_last : bool

    Returns
    -------
    (n, d)

    Raises
    ------
    ValueError
        For another shape, or the first token of a map of places.
    """
    if output.ndim == 2:
        return output
    if output.ndim not in (3, 4):
        raise ValueError(f"gives {output.shape}: neither vectors, nor tokens, nor a map; name another `output`")
    if output.ndim == 4:
        if pool == "first":
            raise ValueError(f"gives a map {output.shape}, which has no first token: set pool to mean or max")
        places = output if channels_last else np.moveaxis(output, 1, -1)
        output = places.reshape(len(output), -1, places.shape[-1])
    if pool == "first":
        return output[:, 0]
    return output.max(axis=1) if pool == "max" else output.mean(axis=1)


def _session(content: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(INSTALL) from error
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base of their own
        text = _first_line(error)
        if "external" in text.lower():
            raise ValueError(
                "keeps its weights in a second file; save it as one: onnx.save(onnx.load(FILE), ONE_FILE), "
                "or torch.onnx.export(..., external_data=False)"
            ) from error
        raise ValueError(f"is not an ONNX model that can be read ({text})") from error


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _channels_last(shape: list[Any], settings: OnnxEmbedding) -> bool:
    """Whether the input is (n, h, w, c) rather than (n, c, h, w); ValueError where the settings do not fit it."""
    if len(shape) != 4:
        raise ValueError(f"takes an input of shape {shape}: pictures are (n, channels, height, width)")
    _, *rest = shape
    fixed = [value if isinstance(value, int) and value > 0 else None for value in rest]
    last = fixed[2] in (1, 3) and fixed[0] not in (1, 3)
    channels, *sides = [fixed[2], fixed[0], fixed[1]] if last else fixed
    if channels not in (None, settings.channels):
        raise ValueError(f"takes pictures of {channels} channels, `channels` says {settings.channels}")
    wrong = [side for side in sides if side not in (None, settings.size)]
    if wrong:
        raise ValueError(f"takes pictures of {sides[0]}x{sides[1]} pixels, `size` says {settings.size}")
    return last
