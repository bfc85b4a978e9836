"""A task's frames in a dataset browser that exists (LightlyStudio): what is shown, the process that shows it, what comes back."""

from enrich_assets.running.exploring.browser import BrowserTrouble, Given, explore
from enrich_assets.running.exploring.dataset import Explorable, write_explorable

__all__ = ["BrowserTrouble", "Explorable", "Given", "explore", "write_explorable"]
