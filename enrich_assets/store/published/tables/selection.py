"""Tables of what was chosen for labelling: the arms, their rankings, and the subsets that are prefixes of these."""

from __future__ import annotations

from enrich_assets.store.published.declaration import declare

ARMS = declare(
    "arms", "How each arm of the profile chooses, and whether it sees labels.", key="task arm",
    columns="""
    task               id!    whose pool
    arm                id!    a way to choose; all = the whole pool
    rule               text!  k-center-greedy, random, typiclust, badge, ...
    embedding          text   by whose vectors frames are compared; NULL where they are not, or by their pixels
    similarity         text   cosine, ssim or pixels; NULL where frames are not compared
    quota_per_patient  int    frames of a patient before every patient gave as many; NULL without a quota
    sees_labels        flag!  true: labels of frames chosen before decide what is chosen next; false: no label was seen
    """,
)  # fmt: skip

RANKINGS = declare(
    "rankings", "The order in which an arm would have frames labelled.",
    columns="""
    task                  id!    whose pool
    arm                   id!    a way to choose: enrich, random, ...
    seed                  int!   of the start set
    position              int!   from 0
    frame_id              id!    joins frames
    similarity_to_chosen  real   greatest similarity to all frames before it; NULL in the start set
    current               flag!  false for rankings of an earlier pool, kept as history
    """,
)  # fmt: skip

SUBSETS = declare(
    "subsets", "The frames that a labelling budget buys: the first `budget` of a ranking.",
    key="subset_id task arm budget seed",
    columns="""
    subset_id     id!    sha256 of the ordered frame ids and their pixel digests
    task          id!    whose pool
    arm           id!    a way to choose; all = the whole pool
    budget        int!   how many labels were allowed
    seed          int!   of the ranking
    n_frames      int    frames in it
    n_patients    int    different patients among them
    n_clips       int    different clips among them
    coverage_p50  real   over frames left out: median of the similarity to the nearest chosen one
    coverage_p05  real   its 5th percentile
    coverage_min  real   its minimum: the frame least well represented
    current       flag!  false for subsets of an earlier ranking, kept as history
    """,
)  # fmt: skip

SUBSET_FRAMES = declare(
    "subset_frames", "The frames of each subset, in order.", key="subset_id position",
    columns="""
    subset_id  id!   joins subsets
    position   int!  from 0
    frame_id   id!   joins frames
    """,
)  # fmt: skip
