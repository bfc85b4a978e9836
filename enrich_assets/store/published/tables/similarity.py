"""Tables of how alike frames are: histograms of similarity, neighbours, near-duplicates, leaks."""

from __future__ import annotations

from enrich_assets.store.published.declaration import declare

REDUNDANCY = declare(
    "redundancy", "Histogram of the similarity of all pairs of a whole: one row per bin [lower, upper). Per batch: panel_redundancy.",
    key="whole task embedding relation lower is_estimate",
    columns="""
    whole        text!  of which frames: archive (all), train (all train frames), pool (those that a task may choose from)
    task         id     whose pool; NULL for archive and train
    embedding    id!    whose vectors: the name of an embedding of the profile
    relation     text!  all, within clip, within patient (other clips of it), between patients
    lower        real!  cosine similarity at the bin's lower edge (included)
    upper        real!  at its upper edge (left out, but for the last bin)
    pairs        int    unordered pairs in the bin
    share        real   pairs / all pairs of the whole and relation: sums to 1 over the bins
    is_estimate  flag!  false: every pair was counted; true: estimated from sampled pairs
    ci_low       real   95 % interval of share, where estimated
    ci_high      real   95 % interval of share, where estimated
    """,
)  # fmt: skip

PANEL_REDUNDANCY = declare(
    "panel_redundancy",
    "The same per batch: pairs of that batch with itself and every earlier one. Counted pairs add up to redundancy's.",
    key="whole task embedding batch relation lower is_estimate",
    columns="""
    whole        text!  archive (all frames), train (all train frames), pool (those that a task may choose from)
    task         id     whose pool; NULL for archive and train
    embedding    id!    whose vectors: the name of an embedding of the profile
    batch        id!    the batch whose panel this is
    relation     text!  all, within clip, within patient (other clips of it), between patients
    lower        real!  cosine similarity at the bin's lower edge (included)
    upper        real!  at its upper edge (left out, but for the last bin)
    pairs        int    unordered pairs in the bin
    share        real   pairs / all pairs of the whole, batch and relation
    is_estimate  flag!  false: every pair was counted; true: estimated from sampled pairs
    ci_low       real   95 % interval of share, where estimated
    ci_high      real   95 % interval of share, where estimated
    """,
)  # fmt: skip

NEIGHBOURS = declare(
    "neighbours", "The most similar frames of each frame.", key="task embedding frame_id relation rank",
    columns="""
    task          id!    whose pool
    embedding     id!    whose vectors: the name of an embedding of the profile
    frame_id      id!    the frame
    rank          int!   1 = most similar
    neighbour_id  id!    a frame_id
    similarity    real!  cosine of the embeddings
    relation      text!  how the neighbour is related: within clip, within patient, between patients
    """,
)  # fmt: skip

NEAR_DUPLICATES = declare(
    "near_duplicates", "Pairs of frames above the similarity called a near-duplicate in the profile.",
    key="task embedding frame_id other_id",
    columns="""
    task             id!    whose pool
    embedding        id!    whose vectors: the name of an embedding of the profile
    frame_id         id!    one frame
    other_id         id!    the other; a frame_id
    similarity       real!  cosine of the embeddings
    relation         text!  within clip, within patient, between patients
    labels_conflict  flag   true where both carry a label and these differ
    """,
)  # fmt: skip

LEAKS = declare(
    "leaks",
    "Near-duplicates across the split or between patients, and under contradicting labels anywhere, of all frames; "
    "worst first. Counts of all there are, listed or not: check near_duplicates_across_split.",
    key="frame_id other_id",
    columns="""
    frame_id          id!    one frame; of two sides the train frame
    other_id          id!    the other; a frame_id; of two sides the test frame
    patient_id        id!    of frame_id
    other_patient_id  id!    of other_id
    split             text!  train or test, of frame_id
    other_split       text!  train or test, of other_id
    similarity        real!  cosine of the embeddings, at least similarity.near_duplicate of the profile
    identical_pixels  flag!  the same 64x64 pixels, to the last bit
    relation          text!  between patients, within patient (other clip), within clip
    across_split      flag!  a train frame and a test frame: a score on the test frame flatters the model
    labels_conflict   flag   true where both carry a label of one task and these differ; NULL where never both carry one
    task              text   tasks whose labels differ, with commas between
    label             text   of frame_id: in the first such task, else in the first task that has a label of the two
    other_label       text   of other_id, in the same task
    """,
)  # fmt: skip

EMBEDDING_HEALTH = declare(
    "embedding_health",
    "Each embedding by each measure of its health, over the whole archive. Only a collapse blocks; by which check: table checks.",
    key="embedding measure",
    columns="""
    embedding  id!    its name in the profile
    measure    text!  of the nearest frame: same clip, same patient, same label; cosines; units and reconstruction of a VAE; seconds
    value      real   the share of frames whose nearest is so, a cosine, a number of units, a ratio, seconds
    chance     real   the same of a neighbour drawn at random
    n          int    frames (units) it was measured on
    verdict    text!  ok, warning, blocks, overridden (the profile goes on despite it), for reading, not measurable
    note       text   what a reader should know
    """,
)  # fmt: skip
