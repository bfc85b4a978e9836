"""How many requests an object store gets: per commit, per freshness check of 1,000 cells, per cell of a whole run. Against SeaweedFS.

    python -m enrich_assets_tests.benchmarks requests          (after .ci/servers has installed the server)

Counted are the calls of S3's own operations, as s3fs sends them; so the numbers do not depend on how fast the machine is.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CELLS = 1000
MODEL = "view/enrich/model"


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Requests to S3 while the context lasts, by operation."""
    import s3fs

    requests: Counter[str] = Counter()
    original = s3fs.S3FileSystem._call_s3

    async def call(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        requests[method] += 1
        return await original(self, method, *args, **kwargs)

    s3fs.S3FileSystem._call_s3 = call
    try:
        yield requests
    finally:
        s3fs.S3FileSystem._call_s3 = original


def measure() -> pd.DataFrame:
    """A row per thing done: requests by operation."""
    from enrich_assets.store.artefacts import Store
    from enrich_assets.store.receipts import Cell
    from enrich_assets_tests.cluster.servers import KEY, Seaweed, running, short_folder

    folder = short_folder()
    server = Seaweed(folder)
    os.environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ENDPOINT_URL": server.url, "ENRICH_CACHE": str(folder / "cache")}
    rows: dict[str, Counter[str]] = {}
    with running(server), tempfile.TemporaryDirectory() as home:
        server.make_bucket("enrich")
        store, cells = (
            Store("s3://enrich/cells"),
            [Cell(MODEL, f"{budget}|{seed}") for budget in range(100) for seed in range(10)],
        )
        with counted() as rows["a commit: an array, a table and a note"]:
            commit(store, cells[0])
        for cell in cells[1:]:
            commit(store, cell)
        store = Store(store.folder.url)
        with counted() as rows[f"one receipt of {CELLS:,}"]:
            assert store.receipts.current(cells[500]) is not None
        store.receipts.refresh()
        with counted() as rows[f"is each of {CELLS:,} cells fresh: the first look"]:
            look(store, cells)
        with counted() as rows[f"is each of {CELLS:,} cells fresh: each further look"]:
            look(store, cells)
        commit(Store(store.folder.url), cells[7])
        with counted() as rows["the same after one of them was made elsewhere"]:
            look(store, cells)
        rows |= of_a_run(Path(home))
    shutil.rmtree(folder)
    return pd.DataFrame(rows).T.fillna(0).astype(int)


def commit(store: Any, cell: Any) -> None:
    draft = store.draft(cell, settings="s", inputs={"subset": "1"})
    draft.done()
    draft.array("weights", np.arange(len(cell.partition)))
    draft.table("history", pd.DataFrame({"epoch": [0]}))
    draft.write("curve.png", b"png", note=True)
    draft.commit()


def look(store: Any, cells: list[Any]) -> None:
    """What a planner asks of a store: does each receipt stand, and are its files there."""
    store.receipts.refresh()
    store.receipts.expect(cells)
    for cell in cells:
        assert store.missing(store.receipts.require(cell)) is None


def of_a_run(home: Path) -> dict[str, Counter[str]]:
    """The small archive of the tests, from decoding to the page but for the training, and once more with nothing to do."""
    from enrich_assets.archive import Archive
    from enrich_assets.archive.ingest import ingest
    from enrich_assets.core.stages import Goal
    from enrich_assets.defs.instance import open_instance
    from enrich_assets.profiles import load_profile
    from enrich_assets.running.driver import Driver
    from enrich_assets.studies.phantom import write_phantom
    from enrich_assets_tests.conftest import SMALL

    (home / "enrich.yaml").write_text(SMALL.read_text())
    write_phantom(str(home / "phantom"), patients=8, scale=0.15)
    rows: dict[str, Counter[str]] = {}
    archive = Archive(home, load_profile(str(SMALL)), "s3://enrich/run")
    ingest(archive, str(home / "phantom"), "first")
    made = 0
    for what in ("first", "second"):
        with counted() as requests:
            archive = Archive(home, archive.profile, "s3://enrich/run")
            with open_instance(archive) as instance:
                outcome = Driver(archive, instance, lambda line: None, Goal(train=False)).run()
            assert not outcome.failed, outcome.failed
        cells = sum(1 for _ in archive.store.receipts.all_current())
        made = made or cells
        name = (
            f"a run without training that makes {cells} cells (checks among them)"
            if what == "first"
            else f"a run with nothing to do, {cells} cells"
        )
        rows[name] = requests
    return rows


def table(found: pd.DataFrame) -> str:
    """As Markdown: requests by operation, their sum."""
    names = {
        "get_object": "GET",
        "put_object": "PUT",
        "list_objects_v2": "LIST",
        "head_object": "HEAD",
        "copy_object": "COPY",
        "delete_objects": "DELETE",
    }
    head = "| what | all | " + " | ".join(names.values()) + " | other |\n|---|" + "---|" * (len(names) + 2)
    lines = []
    for what, row in found.iterrows():
        counts = [int(row.get(name, 0)) for name in names]
        total = int(row.sum())
        lines.append(
            f"| {what} | **{total:,}** | " + " | ".join(f"{c:,}" for c in counts) + f" | {total - sum(counts):,} |"
        )
    return "\n".join([head, *lines])


if __name__ == "__main__":
    print(table(measure()))
