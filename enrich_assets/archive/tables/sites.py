"""Where studies come from, as the asset `sites` holds it."""

from __future__ import annotations

from enrich_assets.archive.tables.source import Everything, Tables

NAMES = ("study_sites", "sites", "site_association", "site_redundancy")


def site_tables(everything: Everything) -> Tables:
    """The tables of the sites; none where the profile names no `sites`, or they were not looked at yet."""
    sites = everything.sites
    return {name: sites.table(name) for name in NAMES} if sites is not None and sites.is_there else {}
