"""The scanner of the phantom: from outlines with an echogenicity to B-mode frames, and to exact masks.

Physics in the plane of the beams, as far as a picture shows it: scatterers that move with the tissue, a point-spread
function that widens sideways with depth, reflection where an interface faces the beam, attenuation and the shadow of
bone, side-lobe haze, amplifier noise under the depth gain, log compression, scan conversion. No files, no patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.phantom.outlines import BLOOD, BONE, Points, Shape

HEIGHT, WIDTH = 300, 400
SAMPLES, BEAMS = 272, 176
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_COARSE = (18, 24)  # grid on which tissue displacement is computed; it is smooth
_TEXTURE = 512


@dataclass(frozen=True)
class Sector:
    """A curved array. Angles in radians, lengths in pixels; the arc of the probe lies `face` from the centre."""

    half_angle: float = 0.6
    face: float = 70.0
    top: float = 14.0  # row at which the middle of the probe's face stands
    depth: float = 274.0

    @property
    def centre(self) -> tuple[float, float]:
        return (WIDTH / 2 - 0.5, self.top - self.face)


@dataclass(frozen=True)
class Setting:
    """What a sonographer's knobs, the mother's tissue and chance make of a picture."""

    gain: float = 0.0  # dB
    dynamic_range: float = 54.0  # dB from black to white
    attenuation: float = 7.0  # dB of soft tissue over the whole depth that the depth gain did not make up for
    depth_gain: tuple[float, float, float] = (0.0, 0.0, 0.0)  # dB errors of the sliders: near, middle, far
    haze: float = 0.03  # side lobes, relative
    noise: float = -46.0  # dB, amplifier at full depth
    lateral: float = 1.2  # width of the beam, in beams
    axial: float = 1.0  # length of the pulse, in samples
    specular: float = 0.7
    smoothing: float = 0.7  # 0 to 1: speckle reduction, as compounding and the machine's filters do
    unevenness: float = 2.5  # dB, of the acoustic window across the picture
    surroundings: float = 140.0  # echogenicity around the fetus: placenta, uterus, or fluid
    near_wall: float = 26.0  # thickness of the mother's wall in samples
    gamma: float = 1.0


@dataclass(frozen=True)
class Pose:
    """Body frame to picture: mirrored, turned, scaled (radius of the chest in pixels), moved."""

    turn: float
    scale: float
    x: float
    y: float
    mirrored: bool = False

    def matrix(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(2, 2) and (2,): multiply points by the first from the right, add the second."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        flip = np.diag([-1.0 if self.mirrored else 1.0, 1.0])
        return self.scale * (flip @ np.array([[c, s], [-s, c]])), np.array([self.x, self.y])

    def to_picture(self, points: Points) -> Points:
        """Points (k, 2) of the body frame as (x, y) in pixels."""
        linear, offset = self.matrix()
        return points @ linear + offset


@lru_cache(maxsize=16)
def _scan_conversion(sector: Sector) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each pixel its beam and sample; -9 outside."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    r, angle = _polar(sector, x, y)
    beam = (angle / sector.half_angle + 1) / 2 * (BEAMS - 1)
    sample = (r - sector.face) * (SAMPLES - 1) / sector.depth
    outside = (beam < 0) | (beam > BEAMS - 1) | (sample < 0) | (sample > SAMPLES - 1)
    beam[outside] = sample[outside] = -9
    return beam.astype(np.float32), sample.astype(np.float32)


def _polar(sector: Sector, x: Any, y: Any) -> tuple[Any, Any]:
    cx, cy = sector.centre
    dx, dy = x - cx, np.maximum(y - cy, 1.0)
    return np.hypot(dx, dy), np.arctan2(dx, dy)


@lru_cache(maxsize=16)
def cone(sector: Sector) -> NDArray[np.bool_]:
    """(HEIGHT, WIDTH) bool: where the picture shows ultrasound."""
    return _scan_conversion(sector)[0] >= 0


@lru_cache(maxsize=4)
def _scatterers(seed: int) -> NDArray[np.float32]:
    """(_TEXTURE, _TEXTURE, 2) complex white noise, laid over the body and repeated."""
    return np.random.default_rng(seed).standard_normal((_TEXTURE, _TEXTURE, 2), np.float32)


def _to_drawing(points: Points) -> NDArray[np.int32]:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def _side_lobes(amplitude: Any) -> Any:
    """(SAMPLES, BEAMS): the haze that bright structures throw far around them."""
    coarse = cv2.resize(amplitude, (22, 34), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(coarse, (0, 0), 2.5), (BEAMS, SAMPLES), interpolation=cv2.INTER_LINEAR)


class Scanner:
    """One clip's scanner: fixed sector and settings, frames on demand. seed: of scatterers and noise."""

    def __init__(self, sector: Sector, setting: Setting, seed: int) -> None:
        self.sector, self.setting = sector, setting
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.scatterers = _scatterers(seed % 3)
        self.texture_offset = rng.uniform(0, _TEXTURE, 2)
        self.noise = rng.standard_normal((SAMPLES, 2 * BEAMS), np.float32)
        rows, columns = np.meshgrid(
            np.linspace(0, SAMPLES - 1, _COARSE[0]), np.linspace(0, BEAMS - 1, _COARSE[1]), indexing="ij"
        )
        r = sector.face + rows * sector.depth / (SAMPLES - 1)
        angle = (columns / (BEAMS - 1) * 2 - 1) * sector.half_angle
        cx, cy = sector.centre
        self.coarse = np.stack([cx + r * np.sin(angle), cy + r * np.cos(angle)], axis=-1)
        self._tables()
        self._mother()

    def _tables(self) -> None:
        """What each echogenicity reflects and swallows; gain and noise at each sample of each beam."""
        s = self.setting
        code = np.arange(256)
        self.amplitude = (10 ** ((code - 200) / 80)).astype(np.float32)  # quarter decibels
        soft = np.where(code < BLOOD + 30, 0.08, 1.0) * s.attenuation / SAMPLES
        bone = 1.1 * ((code - BONE + 22) / 22) ** 2  # dB a sample
        self.loss = np.where(code > BONE - 22, bone, soft).astype(np.float32)
        depth = np.linspace(0, 1, SAMPLES)
        sliders: Any = np.interp(depth, [0.15, 0.5, 0.9], s.depth_gain)[:, None]
        gain: Any = cv2.GaussianBlur(sliders, (1, 61), 18)
        edge = np.minimum(1, np.minimum(np.arange(BEAMS), np.arange(BEAMS)[::-1]) / 12)
        # The acoustic window is better here and worse there: contact, fat, the wall's unevenness.
        window = cv2.resize(self.rng.normal(0, s.unevenness, (3, 6)), (BEAMS, SAMPLES), interpolation=cv2.INTER_CUBIC)
        gain = gain + s.gain + s.attenuation / 2 * depth[:, None] + window - 5 * (1 - edge)[None]
        self.gain = gain.astype(np.float32)
        self.floor = (10 ** ((s.noise + 14 * (depth[:, None] - 1)) / 20) * np.ones((1, BEAMS))).astype(np.float32)

    def _mother(self) -> None:
        """What lies between probe and fetus: layers of the belly wall, then uterus, placenta or fluid."""
        s, rng = self.setting, self.rng
        ground = np.full((SAMPLES, BEAMS), s.surroundings, np.float32)
        bend = np.cumsum(rng.normal(0, 0.25, BEAMS))
        bend = cv2.GaussianBlur(bend[None].astype(np.float32), (41, 1), 12)[0] * 2
        row = np.arange(SAMPLES)[:, None]
        for depth, value in ((s.near_wall, 172.0), (s.near_wall * 0.72, 188.0), (s.near_wall * 0.5, 165.0)):
            ground[row < depth + bend[None]] = value
        ground[:5] = 225  # ring-down at the face of the probe
        self.ground = np.clip(ground, 0, 255).astype(np.uint8)

    # ----------------------------------------------------------------------------------------- one frame

    def echogenicity(self, shapes: list[Shape], pose: Pose) -> NDArray[np.uint8]:
        """(SAMPLES, BEAMS) quarter decibels, painted in the order of the shapes."""
        code = self.ground.copy()
        ends = np.cumsum([len(shape.points) for shape in shapes])
        picture = pose.to_picture(np.concatenate([shape.points for shape in shapes]))
        r, angle = _polar(self.sector, picture[:, 0], picture[:, 1])
        beam = (angle / self.sector.half_angle + 1) / 2 * (BEAMS - 1)
        sample = (r - self.sector.face) * (SAMPLES - 1) / self.sector.depth
        drawing = np.split(_to_drawing(np.column_stack([beam, sample])), ends[:-1])
        for shape, outline in zip(shapes, drawing, strict=True):
            cv2.fillPoly(code, [outline], float(shape.echogenicity), cv2.LINE_AA, _SHIFT)
        return code

    def frame(self, code: NDArray[np.uint8], pose: Pose, squeeze: float) -> NDArray[np.uint8]:
        """One B-mode picture.

        Parameters
        ----------
        code : (SAMPLES, BEAMS) uint8
            What `echogenicity` gives.
        pose : Pose
            Of the body the scatterers move with.
        squeeze : float
            Of the heart, 0 to 1: it moves the scatterers around it.

        Returns
        -------
        (HEIGHT, WIDTH) uint8
        """
        s = self.setting
        amplitude: Any = cv2.LUT(code, self.amplitude)
        echo = self._echo(code, amplitude, pose, squeeze)
        noise = self.noise[:, (start := int(self.rng.integers(BEAMS))) : start + BEAMS]
        envelope = cv2.magnitude(echo[..., 0], echo[..., 1]) + s.haze * _side_lobes(amplitude) * np.abs(
            0.6 + 0.4 * noise
        )
        envelope *= cv2.exp((self.gain - self._loss(code)) * np.float32(np.log(10) / 20))
        envelope += self.floor * np.abs(noise) + np.float32(1e-5)
        beam, sample = _scan_conversion(self.sector)
        picture = cv2.remap(self._grey(envelope) * np.float32(255), beam, sample, cv2.INTER_LINEAR, borderValue=0)
        return np.rint(picture).astype(np.uint8)

    def _echo(self, code: NDArray[np.uint8], amplitude: Any, pose: Pose, squeeze: float) -> Any:
        """(SAMPLES, BEAMS, 2) complex field: diffuse scatter and mirror-like interfaces, through the point spread."""
        column, row = self._texture_map(pose, squeeze)
        scatter = cv2.remap(self.scatterers, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        field: Any = scatter * amplitude[..., None]
        facing = cv2.Sobel(cv2.GaussianBlur(code, (1, 3), 0), cv2.CV_32F, 0, 1, ksize=3, scale=1 / 1020)
        field[..., 0] += (1.6 * self.setting.specular) * facing * np.abs(facing) * np.float32(3)
        return cv2.GaussianBlur(field, (0, 0), sigmaX=self.setting.lateral, sigmaY=self.setting.axial)

    def _loss(self, code: NDArray[np.uint8]) -> Any:
        """(SAMPLES, BEAMS) dB lost on the way to each sample: soft tissue a little, bone so much that it shadows."""
        loss = np.cumsum(cv2.LUT(code, self.loss), axis=0)
        return cv2.blur(cv2.blur(loss, (9, 1)), (7, 1))  # the aperture looks past the edge of a bone

    def _grey(self, envelope: Any) -> Any:
        """(SAMPLES, BEAMS) float32 in [0, 1]: log compression, speckle reduction, gamma."""
        s = self.setting
        grey = cv2.log(envelope) * np.float32(20 / np.log(10) / s.dynamic_range) + np.float32(1 - 7.0 / s.dynamic_range)
        grey = cv2.addWeighted(grey, 1 - s.smoothing, cv2.GaussianBlur(grey, (0, 0), 1.8), s.smoothing, 0)
        grey = np.clip(grey, 0, 1)
        return cv2.pow(grey, s.gamma) if s.gamma != 1 else grey

    def _texture_map(self, pose: Pose, squeeze: float) -> list[Any]:
        """Where in the scatterer map each sample of each beam lies: tissue carries its scatterers along."""
        linear, offset = pose.matrix()
        body = (self.coarse - offset) @ np.linalg.inv(linear)
        near = np.exp(-(body**2).sum(axis=-1, keepdims=True) / 0.5)
        body = body * (1 + 0.12 * squeeze * near)
        texture = (body * (pose.scale * 0.9) + self.texture_offset).astype(np.float32)
        return [cv2.resize(texture[..., k], (BEAMS, SAMPLES), interpolation=cv2.INTER_LINEAR) for k in (0, 1)]

    def mask(self, shapes: list[Shape], pose: Pose) -> NDArray[np.uint8]:
        """(HEIGHT, WIDTH) uint8: index of the chamber at each pixel, 0 elsewhere and outside the cone."""
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for shape in shapes:
            if shape.chamber:
                outline = _to_drawing(pose.to_picture(shape.points))
                cv2.fillPoly(mask, [outline], float(shape.chamber), cv2.LINE_8, _SHIFT)
        mask[~cone(self.sector)] = 0
        return mask


def blend(first: NDArray[np.uint8], second: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """A slice between two planes: the beam is thick and shows some of both. share: of the second."""
    return cv2.addWeighted(first, 1 - share, second, share, 0).astype(np.uint8)
