"""Does the `archive` profile train the full set as far as a plain U-Net script goes when it is left alone until it stops improving?

    python -m enrich_assets_tests.benchmarks.convergence [--size 48] [--seeds 3] [NAME ...]

For each archive: our number of steps, found as `{task}/training_length` finds it, and our networks trained for so long on the whole
pool; beside them `plain_unet`, which shares no code with them. Same frames, same masks, same patients on the two sides, same score.
Only the whole pool is trained: no arm is looked at. The networks of ours are those of `profiles/archive.yaml`, whatever stands there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.networks.length import find_length, half_as_long
from enrich_assets.profiles import load_profile
from enrich_assets.studies.phantom import write_phantom
from enrich_assets_tests.benchmarks.plain_unet import PlainUNet, train_until_it_stops
from enrich_assets_tests.made_home import decode

REALDATA = Path(__file__).resolve().parents[3] / "shared" / "realdata"
TASK = "masks"
PROFILE = """extends: archive
frames: {crop: CROP}
tasks:
  view: null
  masks: {size: SIZE, classes: CLASSES}
"""


@dataclass(frozen=True)
class Source:
    """An archive with masks: how its files come about, its crop and its classes."""

    files: Callable[[Path], str]
    crop: str
    classes: str


SOURCES = {
    "cine MRI (ACDC)": Source(lambda _: str(REALDATA / "acdc_cine_mri"), "none", "[background, RV, myocardium, LV]"),
    "phantom, seed 7": Source(
        lambda folder: str(Path(write_phantom(str(folder / "phantom"), seed=7)).parent),
        "cone",
        "[background, LV, RV, LA, RA]",
    ),
}


@dataclass(frozen=True)
class Masks:
    """Frames with masks, of train and of test patients."""

    images: Any
    masks: Any
    patients: Any
    is_test: Any
    classes: tuple[str, ...]
    settings: Any

    def of(self, side: bool) -> tuple[Any, Any, Any]:
        at = self.is_test == side
        return self.images[at], self.masks[at], self.patients[at]


def read(source: Source, size: int, folder: Path) -> Masks:
    """Ingest and decode; every labelled frame of the archive."""
    profile = folder / "enrich.yaml"
    text = PROFILE.replace("CROP", source.crop).replace("SIZE", str(size)).replace("CLASSES", source.classes)
    profile.write_text(text, encoding="utf-8")
    settings = load_profile(str(profile))
    archive = Archive(folder / "home", settings)
    ingest(archive, source.files(folder))
    archive = Archive(folder / "home", settings)
    decode(archive)
    catalogue, task = Catalogue(archive), settings.tasks[TASK]
    table = catalogue.frame_table().merge(catalogue.labels().of_task(TASK)[["frame_id"]], on="frame_id")
    classes = tuple(catalogue.classes(TASK))
    return Masks(
        catalogue.frames().of(table, TASK).pixels(),
        catalogue.labels().of(table, TASK).answers(task, classes),
        table["patient_id"].to_numpy(),
        (table["split"] == "test").to_numpy(),
        classes,
        task.model_settings,
    )


@dataclass(frozen=True)
class Trained:
    """steps: of the training.   scores, at_half: Jaccard on the test frames, one per seed.   seconds: of one training."""

    steps: str
    scores: list[float]
    at_half: list[float]
    parameters: int
    seconds: float


def ours(data: Masks, seeds: int) -> Trained:
    kind, (images, masks, patients) = kind_of("segmentation"), data.of(False)
    n_classes, began = len(data.classes), time.perf_counter()
    length = find_length(kind, images, masks, patients, n_classes, data.settings, device="cpu")
    searched = time.perf_counter() - began
    settings = replace(data.settings, steps=length.steps, search=None)
    test_images, test_masks, test_patients = data.of(True)
    scores: dict[bool, list[float]] = {False: [], True: []}
    began, parameters = time.perf_counter(), 0
    for seed in range(seeds):
        for is_half in (False, True):
            used = half_as_long(settings, len(images)) if is_half else settings
            weights = kind.fit(images, masks, n_classes, used, seed=seed, device="cpu").weights
            parameters = sum(w.size for w in weights.values())
            predicted = kind.predict(weights, test_images, used, "cpu")
            score = kind.score(predicted, test_masks, test_patients, data.classes, "")
            scores[is_half].append(score.value)
    each = (time.perf_counter() - began) / seeds / 1.5
    end = "" if length.stopped else ", the bound"
    steps = f"{length.steps:,} (best at {length.best_step:,} of the search, {searched:.0f} s{end})"
    return Trained(steps, scores[False], scores[True], parameters, each)


def plain(data: Masks, seeds: int) -> Trained:
    channels, n_classes = data.settings.channels, len(data.classes)
    began = time.perf_counter()
    images, masks, patients = data.of(False)
    test_images, test_masks, _ = data.of(True)
    results = [
        train_until_it_stops(images, masks, patients, test_images, test_masks, n_classes, channels, seed=seed)
        for seed in range(seeds)
    ]
    parameters = sum(p.numel() for p in PlainUNet(n_classes, channels).parameters())
    steps = (
        f"{round(np.mean([r.steps for r in results])):,} (best at {round(np.mean([r.best_step for r in results])):,})"
    )
    return Trained(steps, [r.test for r in results], [], parameters, (time.perf_counter() - began) / seeds)


def row(archive: str, name: str, found: Trained) -> str:
    def over_seeds(values: list[float]) -> str:
        if not values:
            return ""
        spread = f" +- {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
        return f"{np.mean(values):.3f}{spread}"

    cells = (
        archive,
        name,
        f"{found.parameters:,}",
        found.steps,
        over_seeds(found.at_half),
        over_seeds(found.scores),
        f"{found.seconds:.0f}",
    )
    return f"| {' | '.join(cells)} |"


HEAD = """| archive | network | parameters | steps | Jaccard, half as long | Jaccard | seconds |
|---|---|---|---|---|---|---|"""


def table(names: list[str], size: int, seeds: int) -> str:
    """Rows of both, archive by archive, with what they were trained and tested on."""
    rows, sizes = [HEAD], []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            data = read(SOURCES[name], size, Path(folder))
        rows += [row(name, "ours (archive)", ours(data, seeds)), row(name, "plain script", plain(data, seeds))]
        print("\n".join(rows[-2:]), flush=True)
        sides = [f"{len(data.of(side)[2])} frames of {len(set(data.of(side)[2]))} patients" for side in (False, True)]
        sizes.append(f"{name}: {sides[0]} to train, {sides[1]} to test, {size}x{size}")
    return "\n".join([*rows, "", "; ".join(sizes) + f". Mean and deviation over {seeds} seeds; one thread."])


def section(names: list[str], size: int, seeds: int) -> str:
    """As it stands in BENCHMARKS.md."""
    return (
        "## The full set, beside a plain U-Net that trains until it stops improving\n\n"
        "`python -m enrich_assets_tests.benchmarks convergence`. No arm is looked at. The plain script shares no code with ours "
        "(`benchmarks/plain_unet.py`); it keeps the weights of its best held-out score.\n\n" + table(names, size, seeds)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SOURCES))
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(table(chosen.names, chosen.size, chosen.seeds))


if __name__ == "__main__":
    main()
