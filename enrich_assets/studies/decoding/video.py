"""Videos: mp4, avi, mov, mpeg, mkv, webm, gif, decoded to the end through PyAV (FFmpeg).

Greyscale is the decoder's luma plane, stretched to the full range where the video uses 16-235. That is what
OpenCV's conversion yields (its weights are the ones that made the luma), but exact in integers, so every
machine gets the same pixels, and it spares two colour conversions a frame. Videos that hold colours (gif) go
through OpenCV's weights.
"""

from __future__ import annotations

from typing import BinaryIO

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.decoding.clip import MAX_CLIP_PIXELS, Clip, refuse_absurd_size
from enrich_assets.studies.decoding.greyscale import to_grey
from enrich_assets.studies.errors import UnreadableFile

_LUMA_FIRST = frozenset(
    (
        *("gray", "nv12", "nv21", "yuv410p", "yuv411p", "yuv420p", "yuv422p", "yuv440p", "yuv444p"),
        *("yuvj411p", "yuvj420p", "yuvj422p", "yuvj440p", "yuvj444p"),
    )
)
_COLOURS = frozenset(("pal8", "rgb24", "bgr24", "rgb8", "bgr8", "rgb555le", "rgb565le", "gbrp", "bgr0", "rgb0", "0rgb"))
_WITH_ALPHA = frozenset(("bgra", "rgba", "argb", "abgr", "gbrap"))
# FFmpeg tells the format by the content, among these alone. None of them is a playlist (ffconcat, HLS, DASH, SDP ...) or a picture
# sequence, which name other files; and were one to ask for another file all the same, no protocol is there to open it by.
CONTAINERS = (
    *("mov,mp4,m4a,3gp,3g2,mj2", "avi", "matroska,webm", "mpeg", "mpegts", "mpegvideo", "m4v", "h264", "hevc"),
    *("asf", "ogg", "gif"),
)
OPENED_ALONE = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "none"}
_BUFFER = 1 << 18
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_STRETCH = np.clip(np.round((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


def read_video(path: str, source: BinaryIO) -> Clip:
    """The frames of the first video stream, to the end or up to the first damage (which `warnings` then names).

    Parameters
    ----------
    path : str
        For messages.
    source : file
        Open, binary. A rotation that a phone noted is applied.

    Raises
    ------
    UnreadableFile
        Not one frame can be decoded.
    """
    reason = ""
    try:
        with av.open(
            source, mode="r", metadata_errors="ignore", options=OPENED_ALONE, buffer_size=_BUFFER
        ) as container:
            if not container.streams.video:
                raise UnreadableFile(path, "holds no video", "name a file with pictures in it")
            return _decode(path, container)
    except (UnreadableFile, MemoryError):
        raise
    except Exception as error:  # FFmpeg's own, or those of whatever the file is read through
        reason = f"does not open as a video ({type(error).__name__}); it may be cut off or empty"
    raise UnreadableFile(path, reason, "export or copy it again")


class _Frames:
    """Frames as they come, in one array that doubles: a list and a stack at the end would need twice the memory."""

    def __init__(self, path: str, expected: int) -> None:
        self.path = path
        self.capacity = expected if 0 < expected < 100_000 else 64
        self.held: NDArray[np.uint8] = np.empty((0, 0, 0), np.uint8)
        self.n = 0

    def fits(self, frame: NDArray) -> bool:
        return self.n == 0 or frame.shape == self.held.shape[1:]

    def append(self, frame: NDArray[np.uint8]) -> None:
        if self.n == 0:
            refuse_absurd_size(self.path, frame.shape[0], frame.shape[1])
            self.capacity = max(1, min(self.capacity, MAX_CLIP_PIXELS // frame.size))
            self.held = np.empty((self.capacity, *frame.shape), np.uint8)
        elif self.n == len(self.held):
            refuse_absurd_size(self.path, frame.shape[0], frame.shape[1], self.n + 1)
            room = min(2 * self.n, MAX_CLIP_PIXELS // frame.size)
            grown = np.empty((room, *frame.shape), np.uint8)
            grown[: self.n] = self.held
            self.held = grown
        self.held[self.n] = frame
        self.n += 1


def _decode(path: str, container: av.container.InputContainer) -> Clip:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    if stream.codec_context.width and stream.codec_context.height:
        refuse_absurd_size(path, stream.codec_context.height, stream.codec_context.width)
    frames, times, warnings = _Frames(path, stream.frames), [], []
    damage = ""
    packets = container.demux(stream)
    while not damage:
        try:
            packet = next(packets)
            if packet.is_corrupt and frames.n:
                damage = "is cut off"
                break
            pictures = packet.decode()
        except StopIteration:
            break
        except av.FFmpegError as error:
            if frames.n == 0 and isinstance(error, av.InvalidDataError):
                continue  # streams cut out of longer ones begin in the middle of a group of pictures
            damage = "is damaged"
            break
        for picture in pictures:
            assert isinstance(picture, av.VideoFrame)
            grey = _grey(picture)
            if not frames.fits(grey):
                damage = "changes its size"
                break
            frames.append(grey)
            times.append(picture.time)
    if frames.n == 0:
        raise UnreadableFile(path, "holds no frame that can be decoded", "export or copy it again")
    if damage:
        warnings.append(f"{damage} after frame {frames.n}; the {frames.n} frames before were read")
    elif frames.n < 0.85 * stream.frames:  # editing lists in whole files leave out up to a tenth
        warnings.append(f"ends early: {frames.n} of {stream.frames} announced frames were read")
    known = None not in times
    return Clip(
        frames.held[: frames.n],
        kept={"codec": stream.codec_context.name},
        warnings=warnings,
        is_partial=bool(warnings),
        frame_times_ms=1000.0 * (np.array(times, float) - times[0]) if known else None,
    )


def _grey(picture: av.VideoFrame) -> NDArray[np.uint8]:
    name = picture.format.name
    if name in _LUMA_FIRST:
        plane = picture.planes[0]
        grey = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
            : picture.height, : picture.width
        ]
        if name.startswith(("yuv4", "nv")) and picture.color_range != _FULL_RANGE:
            grey = np.asarray(cv2.LUT(grey, _STRETCH), np.uint8)
    elif name in _WITH_ALPHA:
        grey = to_grey(picture.to_ndarray(format="bgra"), order="BGR")
    elif name in _COLOURS:
        grey = to_grey(picture.to_ndarray(format="bgr24"), order="BGR")
    else:  # deeper than 8 bits, or rare
        grey = np.asarray(picture.to_ndarray(format="gray"), np.uint8)
    quarter_turns = round(picture.rotation / 90) % 4
    return np.rot90(grey, quarter_turns) if quarter_turns else grey
