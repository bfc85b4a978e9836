"""What may be wrong with a profile: an error where it cannot be used, a warning where it soon cannot."""


class ProfileError(ValueError):
    """A profile that cannot be used: says the file, the line, what is wrong and what is allowed."""


class RenamedSetting(FutureWarning):
    """A setting under its old name: says the file, the line, the old and the new name."""
