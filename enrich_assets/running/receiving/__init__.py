"""Studies that come by themselves: sent by a scanner or a PACS (C-STORE), or fetched from one (DICOMweb), into `incoming/`."""

from enrich_assets.running.receiving.arrivals import Arrivals, Kept
from enrich_assets.running.receiving.fetching import fetch_studies
from enrich_assets.running.receiving.listening import Listening, listen

__all__ = ["Arrivals", "Kept", "Listening", "fetch_studies", "listen"]
