"""A home read in a notebook: published tables as pandas or Arrow, frames and embeddings as arrays. Nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from enrich_assets.archive.catalogue import Catalogue


class Home:
    """What a home holds now.

    Parameters
    ----------
    folder
        Of the home.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"<enrich home {self.folder}>"

    @property
    def tables(self) -> list[str]:
        """Names of the published tables and views. Raises FileNotFoundError before the first `enrich run`."""
        return list(self.sql("SELECT table_name FROM information_schema.tables ORDER BY 1")["table_name"])

    def table(self, name: str) -> pd.DataFrame:
        """A published table or view as it is now.

        Parameters
        ----------
        name
            One of `tables`.

        Raises
        ------
        FileNotFoundError
            If nothing has been published yet.
        KeyError
            For another name, with the names there are.
        """
        return self.sql(f'FROM "{self._known(name)}"')

    def arrow(self, name: str) -> pa.Table:
        """The same as an Arrow table."""
        from enrich_assets.store.published import reading

        known = self._known(name)
        with reading(self.folder / "enrich.duckdb") as connection:
            return connection.sql(f'FROM "{known}"').to_arrow_table()

    def sql(self, statement: str) -> pd.DataFrame:
        """The result of one SQL query on the published tables; it can change nothing.

        Raises
        ------
        FileNotFoundError
            If nothing has been published yet.
        duckdb.Error
            If the statement is wrong, or would write.
        """
        from enrich_assets.store.published import query

        return query(self.folder / "enrich.duckdb", statement)

    def frames(self, frame_ids: Sequence[str] | None = None, view: str = "similarity") -> NDArray[np.uint8]:
        """Pixels of frames.

        Parameters
        ----------
        frame_ids
            Whose; all frames, in the order of table `frames`, where not given.
        view
            `similarity` (64x64), or the name of a task.

        Returns
        -------
        (n, side, side) uint8
            Grey values, in the order asked for.

        Raises
        ------
        KeyError
            For a frame or a view that is not there.
        """
        table = self._rows(frame_ids)
        if f"digest_{view}" not in table:
            views = [name.removeprefix("digest_") for name in table if name.startswith("digest_")]
            raise KeyError(f"no view {view!r}; there are {', '.join(views)}")
        return self._catalogue.frames().pixels(view, table)

    def embeddings(self, frame_ids: Sequence[str] | None = None, embedding: str = "vae") -> NDArray[np.float32]:
        """Vectors of frames, of unit length.

        Parameters
        ----------
        frame_ids
            Whose; all frames, in the order of table `frames`, where not given.
        embedding
            Its name in the profile.

        Returns
        -------
        (n, d) float32

        Raises
        ------
        KeyError
            For a frame that is not there.
        LookupError
            For an embedding that was not made.
        """
        from enrich_assets.method.embeddings.fixed_point import SCALE

        vectors = self._catalogue.vectors(embedding).of(self._rows(frame_ids))
        return (vectors / np.float32(SCALE)).astype(np.float32)

    @cached_property
    def _catalogue(self) -> Catalogue:
        from enrich_assets.archive import Archive
        from enrich_assets.archive.catalogue import Catalogue

        return Catalogue(Archive.open(str(self.folder)))

    @cached_property
    def _frame_table(self) -> pd.DataFrame:
        return self._catalogue.frame_table()

    def _rows(self, frame_ids: Sequence[str] | None) -> pd.DataFrame:
        if frame_ids is None:
            return self._frame_table
        at = self._frame_table.reset_index().set_index("frame_id")["index"].reindex(list(frame_ids))
        if at.isna().any():
            missing = at.index[at.isna()]
            raise KeyError(f"{len(missing)} frames are not in {self.folder}: {', '.join(missing[:3])}")
        return self._frame_table.loc[at.astype(int)].reset_index(drop=True)

    def _known(self, name: str) -> str:
        if name not in self.tables:
            raise KeyError(f"no table {name!r}; there are {', '.join(self.tables)}")
        return name


def open_home(home: str | Path) -> Home:
    """A home, to be read.

    Parameters
    ----------
    home
        Its folder, as ENRICH_HOME names it.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    folder = Path(home).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: give the home that `enrich` works on (ENRICH_HOME)")
    return Home(folder)
