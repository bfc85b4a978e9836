"""The one Definitions object: what `dagster dev` and the `enrich` command load."""

from enrich_assets.defs.build import build_definitions
from enrich_assets.profiles import home, load_profile, profile_source

defs = build_definitions(load_profile(profile_source(home())))
