"""The published tables: one declaration from which CREATE TABLE, COMMENT ON and the validation of rows
follow.

Here: names, types, comments, keys. Views and macros stand in `views.py`, writing and reading the file in
`published.py`. A table is added by adding a block below; its comments are what `DESCRIBE` and a database
browser show to a user, so they say what a value means, its unit, and which table it joins.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """A column: SQL type, meaning, and whether a row without it is refused."""

    name: str
    type: str
    comment: str
    required: bool


@dataclass(frozen=True)
class Table:
    """A table. No two rows agree in all of `key`; empty for tables without one."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = field(default=())

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


TYPES = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "int": "BIGINT",
    "real": "DOUBLE",
    "flag": "BOOLEAN",
    "time": "TIMESTAMP",
}


def declare(name: str, comment: str, columns: str, key: str = "") -> Table:
    """A table from text: a line per column, `name type[!] comment`; `!` after the type means NOT NULL."""
    parsed = []
    for line in columns.strip().splitlines():
        column, kind, meaning = line.split(maxsplit=2)
        parsed.append(Column(column, TYPES[kind.rstrip("!")], meaning.strip(), kind.endswith("!")))
    return Table(name, comment, tuple(parsed), tuple(key.split()))


# --- what came in -------------------------------------------------------------------------------------------

STUDIES = declare(
    "studies", "One row per exam of one patient.", key="study_id",
    columns="""
    study_id          id!    the exam; first part of clip_id and frame_id
    patient_id        id!    the patient, de-identified
    batch             id!    studies that arrived together: one ingest
    split             text   train or test, decided per patient
    n_clips           int    clips that could be read
    n_frames          int    frames that could be read
    received_at       time   when the batch was ingested (UTC)
    source            text   the manifest or folder it came from
    deidentification  text   what was removed or replaced, as recorded when it came in
    """,
)  # fmt: skip

FILES = declare(
    "files", "One row per source file of a batch, the refused ones with their reason.", key="batch path",
    columns="""
    path      text!  the file as its manifest names it; joins frames.path within one batch
    sha256    id     digest of the file's bytes as they arrived
    batch     id!    studies that arrived together
    status    text!  read or refused
    reason    text   why it was refused; NULL when read
    warning   text   what was odd about a file that was read (cut off, damaged, no cone found); NULL for nothing
    n_frames  int    frames read from it
    """,
)  # fmt: skip

CLIPS = declare(
    "clips", "One row per video, or per group of stills that are one clip.", key="clip_id",
    columns="""
    clip_id      id!   study/clip
    study_id     id!   joins studies
    patient_id   id!   the patient, de-identified
    batch        id!   studies that arrived together
    split        text  train or test
    path         text  source file (the first one of a clip of stills)
    file_sha256  id    digest of that file
    n_frames     int   frames in the clip
    height       int   pixels, before the crop
    width        int   pixels, before the crop
    crop         text  the window kept, as "top left height width" in source pixels
    """,
)  # fmt: skip

FRAMES = declare(
    "frames", "One row per image.", key="frame_id",
    columns="""
    frame_id      id!   study/clip/index; stable for ever
    clip_id       id!   joins clips
    study_id      id!   joins studies
    patient_id    id!   the patient, de-identified
    batch         id!   studies that arrived together
    split         text  train or test
    frame_index   int!  position within the clip, from 0
    pixel_digest  id    sha256 of the stored pixels
    path          text  source file; with batch, joins files
    """,
)  # fmt: skip

LABELS = declare(
    "labels", "Every label ever given to a frame, none overwritten (in force: view current_labels).",
    columns="""
    frame_id     id!    joins frames
    task         id!    the task it is a label for
    label        text   class name; NULL for a mask
    mask_path    text   the mask's file as the manifest names it; NULL for a class or an imported mask
    mask_digest  id     sha256 of the mask's pixels
    source       text   the manifest or the file it was imported from
    author       text   who labelled it, where known
    recorded_at  time   when it was labelled, else when it was imported (UTC)
    current      flag!  true for the label in force, false for one since replaced
    """,
)  # fmt: skip

LABEL_PROBLEMS = declare(
    "label_problems", "Labels and masks of the manifests that could not be used, and why.",
    columns="""
    task    id!    the task they were given for
    batch   id!    studies that arrived together
    item    id     the frame
    reason  text!  what is wrong with its label or mask
    """,
)  # fmt: skip

# --- how alike frames are -----------------------------------------------------------------------------------

REDUNDANCY = declare(
    "redundancy", "Histogram of the similarity of all pairs of a pool: one row per bin [lower, upper).",
    key="task batch relation lower is_estimate",
    columns="""
    task         id!    whose pool
    batch        id!    panel of that batch with itself and all earlier ones; '' = their sum
    relation     text!  all, within clip, within patient (other clips of it), between patients
    lower        real!  cosine similarity at the bin's lower edge (included)
    upper        real!  at its upper edge (left out, but for the last bin)
    pairs        int    unordered pairs in the bin
    share        real   pairs / all pairs of the relation
    is_estimate  flag!  false: every pair was counted; true: estimated from sampled pairs
    ci_low       real   95 % interval of share, where estimated
    ci_high      real   95 % interval of share, where estimated
    """,
)  # fmt: skip

NEIGHBOURS = declare(
    "neighbours", "The most similar frames of each frame.", key="task frame_id relation rank",
    columns="""
    task          id!    whose pool
    frame_id      id!    the frame
    rank          int!   1 = most similar
    neighbour_id  id!    a frame_id
    similarity    real!  cosine of the embeddings
    relation      text!  where the neighbour stands: within clip, within patient, between patients
    """,
)  # fmt: skip

NEAR_DUPLICATES = declare(
    "near_duplicates", "Pairs of frames above the similarity called a near-duplicate in the profile.",
    key="task frame_id other_id",
    columns="""
    task             id!    whose pool
    frame_id         id!    the one frame
    other_id         id!    the other; a frame_id
    similarity       real!  cosine of the embeddings
    relation         text!  within clip, within patient, between patients
    labels_conflict  flag   true where both carry a label and these differ
    """,
)  # fmt: skip

# --- what was chosen ----------------------------------------------------------------------------------------

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
    "subsets", "A labelling budget spent: the first `budget` frames of a ranking.",
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
    coverage_p50  real   over frames left out: median of the greatest similarity to a chosen one
    coverage_p05  real   its 5th percentile
    coverage_min  real   its least value: the frame worst represented
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

# --- what it was worth --------------------------------------------------------------------------------------

EVALUATIONS = declare(
    "evaluations", "One row per trained model scored on the test split.", key="evaluation_id",
    columns="""
    evaluation_id    id!    the key that every reported number carries
    task             id!    what was learnt
    arm              id!    how the frames were chosen; all = the whole pool
    budget           int!   labels allowed; for the arm all, the size of the pool
    seed             int!   of the ranking and the training
    n_train          int    frames trained on
    n_test           int    frames scored
    metric           text!  auc or jaccard
    value            real   the score; higher is better; recomputable from predictions (view recomputed)
    ci_low           real   95 % interval that respects patients, lower end
    ci_high          real   its upper end
    subset_id        id!    joins subsets and subset_frames
    model_digest     id     sha256 of the weights file
    device           text   where it was trained
    seconds          real   training and scoring, wall clock
    mlflow_run_id    id     run in MLflow
    mlflow_model_id  id     logged model in MLflow
    dagster_run_id   id     run in Dagster
    evaluated_at     time   UTC
    current          flag!  false when the subset has since been curated anew, or the profile no longer asks for the cell
    """,
)  # fmt: skip

PREDICTIONS = declare(
    "predictions", "What each model said about each test frame, enough to recompute the score in SQL.",
    columns="""
    evaluation_id        id!   joins evaluations
    frame_id             id!   joins frames
    class                text  the class scored (the positive one of two), or the structure
    truth                int   1 if the frame is of that class, else 0; NULL for masks
    score                real  softmax probability of the class; NULL for masks
    intersection_pixels  int   pixels of the structure in both truth and prediction; NULL for classes
    union_pixels         int   pixels of the structure in either; NULL for classes
    """,
)  # fmt: skip

COMPARISONS = declare(
    "comparisons", "Each arm against a reference at one budget.", key="task budget arm reference",
    columns="""
    task                id!    what was learnt
    budget              int!   labels allowed
    arm                 id!    the arm in question
    reference           text!  random (same budget) or all (the whole pool)
    n                   int    replicates of the arm
    mean                real   of its scores
    sd                  real   standard deviation of its scores
    n_reference         int    replicates of the reference
    mean_reference      real   of its scores
    sd_reference        real   standard deviation of its scores
    difference          real   mean - mean_reference
    ci_low              real   95 % bootstrap interval of the difference, lower end
    ci_high             real   its upper end
    u                   real   Mann-Whitney U of the arm
    p                   real   exact, two-sided
    p_holm              real   Holm's correction over the budgets of the task, for this arm and reference
    rank_biserial       real   effect size, -1 to 1
    alpha               real   level of the test
    can_reach_alpha     flag   false where so few replicates could never be significant
    margin              real   difference that counts as none in the equivalence test
    p_equivalence       real   greater p of the two one-sided tests
    p_equivalence_holm  real   corrected over the budgets of the task
    equivalent          flag   true when shown to be within the margin of the reference
    note                text   what a reader must know of this row
    """,
)  # fmt: skip

SUFFICIENT = declare(
    "sufficient", "The smallest budget of each arm that is equivalent to the whole pool, and what it saves.",
    key="task arm",
    columns="""
    task                    id!   what was learnt
    arm                     id!   the arm in question
    budget                  int   smallest sufficient number of labels; NULL when none was
    budget_low              int   95 % interval, lower end
    budget_high             int   its upper end
    share_of_pool           real  budget / size of the pool
    labels_saved_vs_all     int   against labelling the whole pool
    hours_saved_vs_all      real  at the seconds per label of the profile
    labels_saved_vs_random  int   against random choice to the same end
    hours_saved_vs_random   real  at the seconds per label of the profile
    note                    text  what a reader must know of this row
    """,
)  # fmt: skip

TRAINING_CURVES = declare(
    "training_curves", "Figures of each epoch of each training.", key="evaluation_id epoch name",
    columns="""
    evaluation_id  id!    joins evaluations
    epoch          int!   from 0
    name           text!  loss, accuracy, learning_rate, ...
    value          real   at the end of the epoch
    """,
)  # fmt: skip

# --- what to do next, and whether to believe it -------------------------------------------------------------

WORKLIST = declare(
    "worklist", "Unlabelled frames in the order in which to label them.", key="task position",
    columns="""
    task                   id!   what the label is for
    position               int!  from 0
    frame_id               id!   joins frames
    path                   text  source file
    similarity_to_labelled real  greatest similarity to any labelled frame
    nearest_labelled_id    id    that frame; a frame_id
    """,
)  # fmt: skip

CHECKS = declare(
    "checks", "The last outcome of each check on an asset.",
    columns="""
    asset        text!  asset key, with /
    check_name   text!  name of the check
    passed       flag!  the outcome
    severity     text   ERROR stops what follows, WARN does not
    description  text   what was found
    """,
)  # fmt: skip

PROVENANCE = declare(
    "provenance", "One row per link of the chain behind an evaluation; the view lineage shows it in one row.",
    key="evaluation_id asset partition",
    columns="""
    evaluation_id   id!    joins evaluations
    asset           text!  asset key, with / (split, embeddings, classification/enrich/subset, ...)
    partition       text!  batch, seed, or budget|seed; '' for an asset without partitions
    digest          id!    sha256 of its content when the evaluation was made
    dagster_run_id  id     run that made it
    created_at      time   UTC
    """,
)  # fmt: skip

TABLES: tuple[Table, ...] = (
    STUDIES, FILES, CLIPS, FRAMES, LABELS, LABEL_PROBLEMS,
    REDUNDANCY, NEIGHBOURS, NEAR_DUPLICATES,
    RANKINGS, SUBSETS, SUBSET_FRAMES,
    EVALUATIONS, PREDICTIONS, COMPARISONS, SUFFICIENT, TRAINING_CURVES,
    WORKLIST, CHECKS, PROVENANCE,
)  # fmt: skip
BY_NAME: dict[str, Table] = {table.name: table for table in TABLES}


def identifier(name: str) -> str:
    """The name quoted for SQL (`rank`, `class`, `lower` are words of the language)."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text quoted for SQL."""
    return "'" + text.replace("'", "''") + "'"


def create_table(table: Table) -> str:
    """CREATE TABLE and the comments on it and its columns, as one script.

    No PRIMARY KEY: DuckDB would build and store an index as large as the column, and check each row by it.
    Keys are checked once, by one aggregation, when publishing.
    """
    name = identifier(table.name)
    columns = ",\n  ".join(
        f"{identifier(column.name)} {column.type}{' NOT NULL' if column.required else ''}" for column in table.columns
    )
    key = f" Key: {', '.join(table.key)}." if table.key else ""
    script = [
        f"CREATE TABLE {name} (\n  {columns}\n)",
        f"COMMENT ON TABLE {name} IS {literal(table.comment + key)}",
    ]
    script += [
        f"COMMENT ON COLUMN {name}.{identifier(column.name)} IS {literal(column.comment)}" for column in table.columns
    ]
    return ";\n".join(script) + ";"
