"""LightlyStudio, filled and served. Run by the Python of its own environment as `python studio.py serve FOLDER PORT`: imports nothing of ours.

    serve FOLDER PORT    shows the dataset on 127.0.0.1 until SIGINT, then keeps what was given there
    collect FOLDER       keeps what was given there

What was given goes into `FOLDER/given`: `labels.csv` (with masks beside it) for `enrich labels import`, and `tags.json`.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections import defaultdict
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

DATABASE, READY, GIVEN = "studio.db", "studio.ready", "given"
LEAST_SIDE = (
    384  # pixels of a picture with outlines: LightlyStudio writes their names in letters of the picture's own pixels
)
HOST = "127.0.0.1"
FACTS = (
    "rank",
    "worklist",
    "similarity_to_chosen",
    "subset",
    "near_duplicates",
    "group_size",
    "predicted",
    "confidence",
    "jaccard",
)
COLUMNS = ("frame_id", "patient_id", "study_id", "clip_id", "frame_index", "split")


class Folder:
    """What `write_explorable` wrote.

    Attributes
    ----------
    about : dict
        `explore.json`.
    frames : DataFrame
        A row per picture, by the name of its file: columns of the dataset and of `facts.parquet`, and `vector`, its row of `vectors`.
    vectors : (n, d) float32
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about: dict[str, Any] = json.loads((path / "explore.json").read_text(encoding="utf-8"))
        frames = pd.read_parquet(path / "dataset" / "frames.parquet").reset_index(names="vector")
        frames = frames.merge(pd.read_parquet(path / "facts.parquet"), on="frame_id", how="left")
        self.frames = frames.set_index(frames["image"].map(lambda image: image.rpartition("/")[2]))
        self.vectors = np.load(path / "embeddings.npy")

    @cached_property
    def times(self) -> int:
        """How many times larger than it is each picture is shown, so that outlines can be seen and drawn."""
        if self.about["answers"] != "mask":
            return 1
        return max(1, -(-LEAST_SIDE // min(self._picture(self.frames["image"].iloc[0]).size)))

    def pictures(self) -> Path:
        """The folder of the pictures as they are shown."""
        if self.times == 1:
            return self.path / "dataset" / "images"
        shown = self.path / "shown"
        shown.mkdir(exist_ok=True)
        for name, image in self.frames["image"].items():
            picture = self._picture(image)
            large = picture.resize((picture.width * self.times, picture.height * self.times), Image.Resampling.BICUBIC)
            large.save(shown / str(name), compress_level=1)
        return shown

    def size(self, name: str) -> tuple[int, int]:
        """Height and width of a picture as it is shown."""
        width, height = self._picture(self.frames["image"][name]).size
        return height * self.times, width * self.times

    def _picture(self, image: str) -> Image.Image:
        return Image.open(self.path / "dataset" / image)

    def mask(self, name: str) -> np.ndarray | None:
        """The mask of a picture as it is labelled today, (h, w) uint8; None where it has none."""
        place = self.frames["mask"][name]
        return None if pd.isna(place) else np.asarray(Image.open(self.path / "dataset" / place))

    def drawn(self, name: str) -> np.ndarray | None:
        """The same of the model."""
        place = self.path / "predicted" / name
        return np.asarray(Image.open(place)) if place.exists() else None


def opened(folder: Folder) -> Any:
    """The dataset in LightlyStudio's database, which is filled where that was not done, or not to its end."""
    from lightly_studio import ImageDataset
    from lightly_studio.database import db_manager

    ready = (folder.path / READY).exists()
    db_manager.connect(db_file=str(folder.path / DATABASE), cleanup_existing=not ready)
    name = f"enrich {folder.about['task']}"
    if ready:
        return ImageDataset.load(name)
    dataset = _filled(folder, ImageDataset.create, name)
    (folder.path / READY).touch()
    return dataset


def _filled(folder: Folder, create: Any, name: str) -> Any:
    from lightly_studio import EmbeddingResult, EmbeddingSpaceSpec, register_default_embedder
    from lightly_studio_serve.embedder import ImagePathEmbedder

    class OurVectors(ImagePathEmbedder):
        def embedding_space_spec(self) -> Any:
            return EmbeddingSpaceSpec(
                space_key=f"enrich/{folder.about['embedding']}", dimension=folder.vectors.shape[1]
            )

        def embed_images(self, paths: list[str]) -> Any:
            rows = folder.frames["vector"].loc[[os.path.basename(path) for path in paths]]
            return EmbeddingResult(embeddings=folder.vectors[rows], kept_indices=list(range(len(paths))))

    register_default_embedder(OurVectors())
    dataset = create(name=name)
    dataset.add_images_from_path(str(folder.pictures()))
    samples = {sample.file_name: sample.sample_id for sample in dataset}
    dataset.update_metadata([(sample, _metadata(folder.frames.loc[name])) for name, sample in samples.items()])
    _add_tags(dataset, folder, samples)
    _add_annotations(dataset, folder, samples)
    return dataset


def _metadata(row: pd.Series) -> dict[str, Any]:
    known = {key: row[key] for key in (*COLUMNS, *FACTS) if key in row and not pd.isna(row[key])}
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in known.items()}
    whole = {"rank", "worklist", "subset", "near_duplicates", "group_size", "frame_index"}
    return {key: int(value) if key in whole else value for key, value in plain.items()}


def _add_tags(dataset: Any, folder: Folder, samples: dict[str, Any]) -> None:
    """Ours, and those that people gave in the dataset before this one; not the ones that were labels."""
    from lightly_studio.resolvers import tag_resolver

    tags = dict(folder.about["tags"])
    before = sorted(
        folder.path.parent.glob(f"{folder.about['task']}-*/{GIVEN}/tags.json"), key=lambda file: file.stat().st_mtime
    )
    words = {*folder.about["classes"], *folder.about["not_told"]}
    if before:
        tags |= {name: frames for name, frames in json.loads(before[-1].read_text()).items() if name not in words}
    by_frame = {folder.frames["frame_id"][name]: sample for name, sample in samples.items()}
    for name, frames in tags.items():
        members = [by_frame[frame] for frame in frames if frame in by_frame]
        if members:
            tag = tag_resolver.get_or_create_sample_tag_by_name(
                session=dataset.session, collection_id=dataset.collection_id, tag_name=name
            )
            tag_resolver.add_sample_ids_to_tag_id(session=dataset.session, tag_id=tag.tag_id, sample_ids=members)


def _add_annotations(dataset: Any, folder: Folder, samples: dict[str, Any]) -> None:
    """Today's labels as one source, the model's answers as another; and their comparison, where both are there."""
    from lightly_studio.core.annotation.annotation_create import CreateClassification, CreateSegmentationMask
    from lightly_studio.resolvers import annotation_resolver

    about = folder.about
    sources: dict[str, list[Any]] = {about["labels"]: [], about["model"] or "": []}
    for name, sample in samples.items():
        row = folder.frames.loc[name]
        made: list[tuple[str, Any]] = []
        if about["answers"] == "mask":
            for source, mask in ((about["labels"], folder.mask(name)), (about["model"], folder.drawn(name))):
                for code in np.unique(mask[mask > 0]) if mask is not None else ():
                    outline = np.kron(mask == code, np.ones((folder.times, folder.times), bool))
                    made.append(
                        (source, CreateSegmentationMask(class_name=about["classes"][code], **_outlined(outline)))
                    )
        else:
            if not pd.isna(row["label"]):
                made.append((about["labels"], CreateClassification(class_name=row["label"])))
            if not pd.isna(row.get("predicted")):
                made.append(
                    (
                        about["model"],
                        CreateClassification(class_name=row["predicted"], confidence=float(row["confidence"])),
                    )
                )
        for source, annotation in made:
            sources[source].append(
                annotation.to_annotation_create(
                    session=dataset.session, dataset_id=dataset.dataset_id, parent_sample_id=sample
                )
            )
    for source, made_of_it in sources.items():
        if made_of_it:
            annotation_resolver.create_many(
                session=dataset.session,
                parent_collection_id=dataset.collection_id,
                annotations=made_of_it,
                collection_name=source,
            )
    if about["answers"] == "class" and all(sources.values()):  # of outlines its page of evaluations shows nothing yet
        _evaluate(dataset, about)


def _outlined(outline: np.ndarray) -> dict[str, Any]:
    """Box and run lengths of an outline, (h, w) bool with something in it, as LightlyStudio keeps them; it counts pixel by pixel in Python."""
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    flat = outline.reshape(-1).astype(np.int8)
    ends = np.concatenate(
        [np.flatnonzero(np.diff(flat, prepend=0)), [flat.size]]
    )  # of each run; the first is of the outside
    return {
        "x": int(columns[0]),
        "y": int(rows[0]),
        "width": int(columns[-1] - columns[0] + 1),
        "height": int(rows[-1] - rows[0] + 1),
        "segmentation_mask": np.diff(ends, prepend=0).tolist(),
    }


def _evaluate(dataset: Any, about: dict[str, Any]) -> None:
    """Predictions beside labels in LightlyStudio's own page of evaluations, over the frames that the model was scored on."""
    from lightly_studio.core.dataset_query import ImageSampleField

    scored = dataset.query().match(ImageSampleField.tags.contains("model: scored"))
    dataset.evaluate(query=scored).classification(
        name=about["model"], gt_annotation_source=about["labels"], pred_annotation_source=about["model"]
    )


def collect(folder: Folder, dataset: Any) -> None:
    """Write `given/`: labels that differ from today's, tags that are a class of the task, and all tags of people's own."""
    names = {sample.sample_id: sample.file_name for sample in dataset}
    tags = _tags_given(folder, dataset, names)
    rows, masks = _labels_given(folder, dataset, names)
    words = [*folder.about["classes"], *folder.about["not_told"]]
    if folder.about["answers"] == "class":
        rows += [(frame, word, "") for word in words for frame in tags.get(word, ())]
    building = folder.path / f".{GIVEN}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with (building / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["frame_id", "label", "mask_path", "recorded_at"])
        table.writerows((*row, now) for row in rows)
    for name, mask in masks.items():
        Image.fromarray(mask).save(building / name)
    (building / "tags.json").write_text(json.dumps(tags, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder.path / GIVEN, ignore_errors=True)
    os.replace(building, folder.path / GIVEN)


def _tags_given(folder: Folder, dataset: Any, names: dict[Any, str]) -> dict[str, list[str]]:
    from lightly_studio.resolvers import tag_resolver

    given = {}
    for tag in tag_resolver.get_all_by_collection_id(session=dataset.session, collection_id=dataset.collection_id):
        if tag.name not in folder.about["tags"]:
            members = tag_resolver.get_sample_ids_by_tag_id(session=dataset.session, tag_id=tag.tag_id)
            given[tag.name] = sorted(
                str(folder.frames["frame_id"][names[member]]) for member in members if member in names
            )
    return {name: frames for name, frames in given.items() if frames}


def _labels_given(
    folder: Folder, dataset: Any, names: dict[Any, str]
) -> tuple[list[tuple[str, str, str]], dict[str, np.ndarray]]:
    """(frame_id, label, mask_path) of what differs from today's labels, and the masks; what the model answered is left out."""
    by_picture: dict[str, list[Any]] = defaultdict(list)
    for annotation, label, source in _annotations(dataset):
        if source != folder.about["model"] and annotation.parent_sample_id in names:
            by_picture[names[annotation.parent_sample_id]].append((annotation, label))
    rows: list[tuple[str, str, str]] = []
    masks: dict[str, np.ndarray] = {}
    for name, outlines in sorted(by_picture.items()):
        row = folder.frames.loc[name]
        if folder.about["answers"] == "class":
            known = "" if pd.isna(row["label"]) else row["label"]
            labels = dict.fromkeys(
                label for annotation, label in outlines if annotation.annotation_type.value == "classification"
            )
            rows += [(row["frame_id"], label, "") for label in labels if label != known]
            continue
        mask, before = _painted(outlines, folder.about["classes"], folder.size(name), folder.times), folder.mask(name)
        if mask is not None and (before is None or not np.array_equal(mask, before)):
            masks[name] = mask
            rows.append((row["frame_id"], "", name))
    return rows, masks


def _annotations(dataset: Any) -> Any:
    """Every annotation with its class and its source, in the order in which they were made."""
    from lightly_studio.models.annotation.annotation_base import AnnotationBaseTable
    from lightly_studio.models.annotation_label import AnnotationLabelTable
    from lightly_studio.models.collection import CollectionTable
    from lightly_studio.models.sample import SampleTable
    from sqlmodel import select

    return dataset.session.exec(
        select(AnnotationBaseTable, AnnotationLabelTable.annotation_label_name, CollectionTable.name)
        .join(AnnotationLabelTable, AnnotationLabelTable.annotation_label_id == AnnotationBaseTable.annotation_label_id)
        .join(SampleTable, SampleTable.sample_id == AnnotationBaseTable.sample_id)
        .join(CollectionTable, CollectionTable.collection_id == SampleTable.collection_id)
        .order_by(AnnotationBaseTable.created_at)
    ).all()


def _painted(annotations: list[Any], classes: list[str], size: tuple[int, int], times: int) -> np.ndarray | None:
    """One mask of class indices out of the outlines of a picture, the later on top, in the picture's own size; None without any.

    Parameters
    ----------
    annotations : list of (annotation, class)
    classes : list of str
        In the order of the indices.
    size : (int, int)
        Height and width as it is shown.
    times : int
        How many times larger than it is it is shown.
    """
    mask = np.zeros(size, np.uint8)
    found = False
    for annotation, label in annotations:
        details = annotation.segmentation_details
        if details is None or not details.segmentation_mask or label not in classes:
            continue
        runs = np.asarray(details.segmentation_mask)  # row by row, first of the outside
        inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        mask.reshape(-1)[: len(inside)][inside] = classes.index(label)
        found = True
    return mask[times // 2 :: times, times // 2 :: times] if found else None


def only_for_its_own_pages(app: Any) -> None:
    """LightlyStudio answers any web page that the same browser has open: take that out, and names that are not this machine's."""
    from starlette.middleware.cors import CORSMiddleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import PlainTextResponse

    class OwnPages:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            headers = dict(scope.get("headers", ()))
            origin = headers.get(b"origin")
            if scope["type"] == "http" and origin is not None and origin.partition(b"://")[2] != headers.get(b"host"):
                await PlainTextResponse("only for its own pages", 403)(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    app.user_middleware = [one for one in app.user_middleware if one.cls is not CORSMiddleware]
    app.add_middleware(OwnPages)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])


def serve(folder: Folder, port: int) -> None:
    """Until SIGINT. What was given before (and not kept, as by a crash) is kept first, what is given now afterwards."""
    import lightly_studio
    from lightly_studio.api.app import app

    collect(folder, opened(folder))
    only_for_its_own_pages(app)
    lightly_studio.start_gui(host=HOST, port=port, open_browser=False)
    collect(folder, opened(folder))  # the server has closed the database


if __name__ == "__main__":
    os.environ["LIGHTLY_STUDIO_ANALYTICS_ENABLED"] = "false"
    what, place = sys.argv[1], Folder(Path(sys.argv[2]))
    if what == "serve":
        serve(place, int(sys.argv[3]))
    else:
        collect(place, opened(place))
