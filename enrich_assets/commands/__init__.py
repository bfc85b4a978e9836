"""What the `enrich` command is made of, beside `cli`: how a home is opened and errors are shown, and commands in groups.

`STORY` is the order in which `enrich --help` lists them.
"""

from enrich_assets.commands.completion import completion
from enrich_assets.commands.doctor import doctor
from enrich_assets.commands.exploring import explore
from enrich_assets.commands.ingesting import ingest
from enrich_assets.commands.labelling import labels, worklist
from enrich_assets.commands.league import league
from enrich_assets.commands.receiving import fetch, listen
from enrich_assets.commands.results import export, frames, lineage, sql
from enrich_assets.commands.running import demo, leave_out, plan, run
from enrich_assets.commands.serving import ui
from enrich_assets.commands.upkeep import key, migrate, open_name, prune, relocate, repair

STORY = {
    "Begin": [demo, ingest, plan, run],
    "Receive studies from a hospital": [listen, fetch],
    "Label": [worklist, labels],
    "Look": [ui, sql, lineage, frames, explore, export],
    "Compare": [league, leave_out],
    "Keep a home whole": [doctor, repair, prune, relocate, migrate, key, open_name],
    "In a shell": [completion],
}
COMMANDS = [command for chapter in STORY.values() for command in chapter]
