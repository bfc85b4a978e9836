"""Parquet is read as pandas reads it, and no thread of Arrow's is left that could abort the process at its end."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from enrich_assets.parquet import arrow_table, from_parquet, to_parquet

TABLES = {
    "numbers": pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": [True, False]}),
    "text": pd.DataFrame({"a": ["x", None], "b": pd.Series(["y", pd.NA], dtype="string"), "c": [None, None]}),
    "empty": pd.DataFrame({"a": pd.Series(dtype="string"), "b": pd.Series(dtype="int64")}),
    "nothing": pd.DataFrame(),
    "odd": pd.DataFrame(
        {
            "box": [[1, 2], [3, 4]],
            "at": pd.to_datetime(["2026-01-01", None], utc=True),
            "n": pd.array([1, None], "Int64"),
        }
    ),
    "many": pd.DataFrame({"a": np.arange(50_000), "b": [f"frame {i}" for i in range(50_000)]}),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_pandas_makes_of_it(name: str) -> None:
    content = to_parquet(TABLES[name])
    pd.testing.assert_frame_equal(from_parquet(content), pd.read_parquet(io.BytesIO(content)), check_exact=True)


@pytest.mark.parametrize("name", ["many", "nothing", "numbers"])
def test_text_that_comes_again_is_the_same_text_and_a_table_without_it_is_read(name: str) -> None:
    """The neighbours of a pool whose pairs were sampled are a table without a column."""
    content = to_parquet(TABLES[name])
    read = arrow_table(content, repeated=("b", "absent"))
    assert read.cast(arrow_table(content).schema).equals(arrow_table(content))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_reading_and_writing_start_no_thread() -> None:
    """Arrow's threads hold Python objects; one that outlives the interpreter aborted `enrich ingest` after its work."""
    code = """
import os, pandas as pd
from enrich_assets.parquet import from_parquet, to_parquet
table = pd.DataFrame({name: range(200_000) for name in "abcdef"} | {"text": ["x" * 20] * 200_000})
before = len(os.listdir("/proc/self/task"))
assert len(from_parquet(to_parquet(table))) == 200_000
print(len(os.listdir("/proc/self/task")) - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "0"
