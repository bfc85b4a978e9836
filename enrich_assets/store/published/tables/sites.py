"""Tables of where studies come from: the columns that the profile names as `sites`. Empty where it names none."""

from __future__ import annotations

from enrich_assets.store.published.declaration import declare

STUDY_SITES = declare(
    "study_sites", "The site of each study, by each manifest column that the profile names as `sites`.",
    key="study_id site_column",
    columns="""
    study_id     id!    joins studies
    site_column  text!  the manifest's column: hospital, scanner, source
    site         text!  what it says; A + B where the files of a study name two
    """,
)  # fmt: skip

SITES = declare(
    "sites", "Patients and frames by site, side, task and class.", key="site_column site split task class",
    columns="""
    site_column  text!  the manifest's column
    site         text!  the site
    split        text!  train or test
    task         text!  the task whose classes are counted; empty for all frames, labelled or not
    class        text!  the class; empty for all, mask where the label is a mask
    patients     int!   of this site, side and class
    frames       int!   of these patients
    """,
)  # fmt: skip

SITE_ASSOCIATION = declare(
    "site_association", "Whether class and site go together, over patients: then a model may learn the site.",
    key="site_column task",
    columns="""
    site_column  text!  the manifest's column
    task         text!  the task whose classes are meant
    cramers_v    real   0 (independent) to 1 (the class follows from the site); NULL with one site or one class
    by_chance    real   mean of V when the classes are dealt out to the patients at random
    p            real   share of 999 such deals, and the observed one, in which V is as great or greater
    confounded   flag!  p at most 0.05 and V at least 0.3
    n            int!   patients, each once for each site and class it has
    n_sites      int!   sites among them
    n_classes    int!   classes among them
    """,
)  # fmt: skip

SITE_REDUNDANCY = declare(
    "site_redundancy", "Pairs of frames of one site by cosine similarity; every frame of the archive, train and test.",
    key="site_column site lower",
    columns="""
    site_column  text!  the manifest's column
    site         text!  the site
    lower        real!  least cosine of the bin
    upper        real!  its upper end, not part of it but for 1
    pairs        int!   unordered pairs in the bin
    share        real   of the pairs of the site
    frames       int!   frames compared
    is_estimate  flag!  true where so many frames were there that evenly spaced ones stand for all
    """,
)  # fmt: skip
