"""Parquet read and written without one of Arrow's threads: the one place that does it.

Arrow reads through threads of its own (`pandas.read_parquet` starts three, even with `use_threads=False`: columns are read ahead). They
hold Python objects, and one that lets go of its object while the interpreter ends is ended by Python inside C++, which aborts
the process ("terminate called without an active exception", exit 134) after all work was done (apache/arrow issues 34314, 50482). Our
tables are small; so no such thread is ever started.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def arrow_table(content: bytes, *, repeated: Sequence[str] = ()) -> pa.Table:
    """The table in the bytes of a Parquet file.

    Parameters
    ----------
    content
        Of the file.
    repeated
        Columns of text in which values come again and again: kept as four bytes a row, and each value once. Those that are not
        there (an empty table has none) are passed over.

    Raises
    ------
    pyarrow.ArrowException
        If it is none, or is damaged.
    """
    source = pa.BufferReader(content)
    there = [name for name in repeated if name in pq.read_schema(source).names] if repeated else []
    return pq.ParquetFile(source, pre_buffer=False, read_dictionary=there or None).read(use_threads=False)


def from_parquet(content: bytes) -> pd.DataFrame:
    """The same, as `pandas.read_parquet` gives it. Raises pyarrow.ArrowException."""
    frame: pd.DataFrame = arrow_table(content).to_pandas(use_threads=False)
    return frame


def to_parquet(table: pd.DataFrame, *, compression: str = "snappy") -> bytes:
    """A Parquet file of a table; its index is not kept."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression=compression)
    return buffer.getvalue()
