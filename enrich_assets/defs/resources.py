"""The one resource: it opens the archive. What an archive can do: `enrich_assets.archive`."""

import dagster as dg

from enrich_assets.archive.home import Archive


class ArchiveResource(dg.ConfigurableResource[Archive]):
    """Opens an archive: that of these settings, else the one that ENRICH_HOME, ENRICH_PROFILE and ENRICH_STORE name.

    A test, or who executes runs in this process, hands out an open one: `ArchiveResource.of(archive)`.
    """

    home: str | None = None  # folder
    profile: str | None = None  # name of a built-in one, or a YAML file
    store: str | None = None  # any fsspec URL

    @staticmethod
    def of(archive: Archive) -> "ArchiveResource":
        """Hands out this one. A class of its own: Dagster makes the resource again from its configuration for each run."""

        class Given(ArchiveResource):
            def open(self) -> Archive:
                archive.store.receipts.refresh()
                return archive

        return Given()

    def open(self) -> Archive:
        """The archive as it is now. A given one keeps the batches it works on, and sees what others made since."""
        return Archive.open(self.home, self.profile, self.store)
