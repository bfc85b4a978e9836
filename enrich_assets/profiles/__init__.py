"""The profiles that come with the package, and how a profile is found and read. The model it must fit is `settings`."""

from enrich_assets.profiles.errors import ProfileError, RenamedSetting
from enrich_assets.profiles.reading import BUILT_IN, home, is_file, load_profile, profile_source

__all__ = ["BUILT_IN", "ProfileError", "RenamedSetting", "home", "is_file", "load_profile", "profile_source"]
