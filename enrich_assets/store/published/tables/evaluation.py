"""Tables of trained models and their scores: evaluations, predictions, comparisons, sufficient budgets, adequacy."""

from __future__ import annotations

from enrich_assets.store.published.declaration import declare

EVALUATIONS = declare(
    "evaluations", "One row per trained model scored on the test split.", key="evaluation_id",
    columns="""
    evaluation_id    id!    the key that every reported number carries
    task             id!    the task the model was trained for
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
    current          flag!  false when the subset has since changed, or the profile no longer asks for the cell
    """,
)  # fmt: skip

PREDICTIONS = declare(
    "predictions", "What each model predicted for each test frame, enough to recompute the score in SQL.",
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
    task                id!    the task the model was trained for
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
    ci_low              real   95 % interval of the difference over patients and seeds, lower end
    ci_high             real   its upper end
    se                  real   standard error of the difference, over patients and seeds
    se_patients         real   what test patients contribute to it (se^2 = se_patients^2 + se_seeds^2)
    se_seeds            real   what seeds contribute to it
    df                  real   degrees of freedom of se
    cases               real   independent test patients that se_patients stands on
    p_both              real   no difference, over patients and seeds, two-sided
    p_both_holm         real   Holm's correction over the budgets of the task, for this arm and reference
    u                   real   Mann-Whitney U of the arm, over seeds alone
    p                   real   exact, two-sided, over seeds alone
    p_holm              real   Holm's correction over the budgets of the task, for this arm and reference
    rank_biserial       real   effect size, -1 to 1
    alpha               real   level of the test
    can_reach_alpha     flag   false where so few replicates could never be significant
    margin              real   difference that counts as none in the equivalence test
    p_equivalence       real   larger p of the two one-sided tests, over patients and seeds
    p_equivalence_holm  real   Holm's correction over the budgets of the task
    equivalent          flag   true when shown to be within the margin of the reference, in an adequate experiment
    p_equivalence_seeds real   larger p of the two one-sided tests over seeds alone; no claim rests on it
    note                text   what a reader must know about this row
    """,
)  # fmt: skip

SUFFICIENT = declare(
    "sufficient", "The smallest budget of each arm that is equivalent to the whole pool, and what it saves.",
    key="task arm",
    columns="""
    task                    id!   the task the model was trained for
    arm                     id!   the arm in question
    budget                  int   smallest sufficient number of labels; NULL when none was
    budget_low              int   95 % interval, lower end
    budget_high             int   its upper end
    share_of_pool           real  budget / size of the pool
    labels_saved_vs_all     int   against labelling the whole pool
    hours_saved_vs_all      real  at the seconds per label of the profile
    labels_saved_vs_random  int   against what the arm random needs
    hours_saved_vs_random   real  at the seconds per label of the profile
    note                    text  what a reader must know about this row
    """,
)  # fmt: skip

ADEQUACY = declare(
    "adequacy", "Could the experiment have told? A claim is made only where every answer of its task is yes.",
    key="task question",
    columns="""
    task          id!    the task the models were trained for
    question      id!    test_set, convergence, rise, seeds, sites
    asks          text!  the question in words
    answer        text!  the answer in words; "Not known" is not passed
    value         real   what was measured: half a 95 % interval, a gain of the metric, a share, Cramer's V
    limit         real   what it was held against
    passed        flag!  whether the answer is yes
    reason        text   why no claim is made, in a few words; empty where passed
    remedy        text   what would help, about how much
    cost_seconds  real   of a machine, or of an expert for more test patients; an estimate
    """,
)  # fmt: skip

TRAINING_CURVES = declare(
    "training_curves", "Metrics of each epoch of each training.", key="evaluation_id epoch name",
    columns="""
    evaluation_id  id!    joins evaluations
    epoch          int!   from 0
    name           text!  loss, accuracy, learning_rate, ...
    value          real   at the end of the epoch
    """,
)  # fmt: skip
