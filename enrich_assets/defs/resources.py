"""The one resource: it hands out the archive of this environment. What an archive can do: `enrich_assets.archive`."""

import dagster as dg

from enrich_assets.archive import Archive


class ArchiveResource(dg.ConfigurableResource[Archive]):
    """Opens the archive that ENRICH_HOME, ENRICH_PROFILE and ENRICH_STORE name.

    A test hands out its own: `ArchiveResource.of(archive)`.
    """

    def open(self) -> Archive:
        return Archive.open()

    @staticmethod
    def of(archive: Archive) -> "ArchiveResource":
        class Given(ArchiveResource):
            def open(self) -> Archive:
                archive.store.receipts.refresh()
                return archive

        return Given()
