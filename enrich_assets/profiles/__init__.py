"""The profiles that come with the package."""
