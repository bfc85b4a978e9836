"""Generated media with bytes flipped, cut, doubled or zeroed, through the decoders' own processes: read, or refused by name.

python -m enrich_assets_tests.attack.mutations [--times 20000] [--seed 0]
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.isolation import in_order, isolated
from enrich_assets.studies.readers import Wanted, read_pictures
from enrich_assets_tests.studies.made_dicom import as_bytes, dataset

ALL = Wanted((), whole=True)
DIED = ("brought its decoder down", "was not decoded within", "to be decoded")


def seeds() -> dict[str, bytes]:
    """Suffix -> a small whole file of that kind."""
    picture = np.random.default_rng(0).integers(0, 255, (24, 32), np.uint8)
    made = {"dcm": as_bytes(dataset(np.stack([picture, picture.T.reshape(24, 32)])))}
    for suffix, kind in (("png", "PNG"), ("jpg", "JPEG"), ("tif", "TIFF")):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, kind)
        made[suffix] = out.getvalue()
    for suffix in ("mp4", "avi"):
        out = io.BytesIO()
        with av.open(out, "w", format=suffix) as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height = 32, 32
            for level in range(3):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32), 60 * level, np.uint8), format="gray")
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
            container.mux(stream.encode())
        made[suffix] = out.getvalue()
    return made


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes set at random (half of the times near the head), or a piece cut, doubled or zeroed."""
    changed = bytearray(content)
    end = len(changed) if rng.random() < 0.5 else min(400, len(changed))
    kind = rng.integers(5)
    at = int(rng.integers(end))
    length = int(rng.integers(1, 64))
    if kind == 0:
        del changed[at:]
    elif kind == 1:
        del changed[at : at + length]
    elif kind == 2:
        changed[at:at] = changed[at : at + length]
    elif kind == 3:
        changed[at : at + length] = bytes(len(changed[at : at + length]))
    else:
        for place in rng.integers(0, end, int(rng.integers(1, 9))):
            changed[place] = int(rng.integers(256))
    return bytes(changed)


def attack(times: int, seed: int = 0) -> dict[str, int]:
    """Counts: read, refused, decoders that died or ran out of time or memory (each refused by name too), and harms."""
    counts: Counter[str] = Counter({"mutations": times})
    whole = list(seeds().items())
    rng = np.random.default_rng(seed)

    def tried(path: str) -> str:
        try:
            isolated(path, read_pictures, path, ALL, {})
        except UnreadableFile as refusal:
            if Path(path).name not in str(refusal):
                return "harms"
            return "decoders lost" if any(words in str(refusal) for words in DIED) else "refused"
        except Exception as error:
            print(path, repr(error)[:300])
            return "harms"
        finally:
            Path(path).unlink()
        return "read"

    with tempfile.TemporaryDirectory(prefix="enrich-mutations-") as folder:

        def paths() -> Iterator[str]:
            for number in range(times):
                suffix, content = whole[number % len(whole)]
                path = Path(folder) / f"m{number}.{suffix}"
                path.write_bytes(mutated(content, rng))
                yield str(path)

        counts.update(in_order(tried, paths()))
        for suffix, content in whole:  # the decoders are alive, and read what is whole
            path = Path(folder) / f"whole.{suffix}"
            path.write_bytes(content)
            isolated(str(path), read_pictures, str(path), ALL, {})
    return {name: counts[name] for name in ("mutations", "read", "refused", "decoders lost", "harms")}


def main() -> int:
    """Returns the number of harms."""
    options = argparse.ArgumentParser()
    options.add_argument("--times", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    counts = attack(given.times, given.seed)
    print(counts)
    return min(counts["harms"], 100)


if __name__ == "__main__":
    sys.exit(main())
