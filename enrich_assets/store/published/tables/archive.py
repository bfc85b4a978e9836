"""Tables of what was ingested: studies, source files, clips, frames, and the labels given to frames."""

from __future__ import annotations

from enrich_assets.store.published.declaration import declare

STUDIES = declare(
    "studies", "One row per exam of one patient.", key="study_id",
    columns="""
    study_id          id!    the exam; first part of clip_id and frame_id
    patient_id        id!    the patient, de-identified
    batch             id!    studies ingested together
    split             text   train or test, decided per patient
    n_clips           int    clips that could be read
    n_frames          int    frames that could be read
    received_at       time   when the batch was ingested (UTC)
    source            text   the manifest or folder it came from
    deidentification  text   what was removed or replaced, as recorded at ingest
    """,
)  # fmt: skip

FILES = declare(
    "files", "One row per source file of a batch, the refused ones with their reason.", key="batch path",
    columns="""
    path      text!  the file as its manifest names it; joins frames.path within one batch
    sha256    id     sha256 of the file's bytes as received
    batch     id!    studies ingested together
    status    text!  read or refused
    reason    text   why it was refused; NULL when read
    warning   text   what was odd about a file that was read (truncated, damaged, no cone); NULL if nothing was
    n_frames  int    frames read from it
    """,
)  # fmt: skip

CLIPS = declare(
    "clips", "One row per video, or per group of stills that are one clip.", key="clip_id",
    columns="""
    clip_id      id!   study/clip
    study_id     id!   joins studies
    patient_id   id!   the patient, de-identified
    batch        id!   studies ingested together
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
    frame_id      id!   study/clip/index; never changes
    clip_id       id!   joins clips
    study_id      id!   joins studies
    patient_id    id!   the patient, de-identified
    batch         id!   studies ingested together
    split         text  train or test
    frame_index   int!  position within the clip, from 0
    pixel_digest  id    sha256 of the stored pixels
    path          text  source file; with batch, joins files
    """,
)  # fmt: skip

LABELS = declare(
    "labels", "Every label ever given to a frame, none overwritten (those in use: view current_labels).",
    columns="""
    frame_id     id!    joins frames
    task         id!    the task it is a label for
    label        text   class name; NULL for a mask
    mask_path    text   the mask's file as the manifest names it; NULL for a class or an imported mask
    mask_digest  id     sha256 of the mask's pixels
    source       text   the manifest or the file it was imported from
    author       text   who labelled it, where known
    recorded_at  time   when it was labelled, else when it was imported (UTC)
    current      flag!  true for the label in use, false for one since replaced
    """,
)  # fmt: skip

LABEL_PROBLEMS = declare(
    "label_problems", "Labels and masks of the manifests that could not be used, and why.",
    columns="""
    task    id!    the task they were given for
    batch   id!    studies ingested together
    item    id     the frame
    reason  text!  what is wrong with its label or mask
    """,
)  # fmt: skip
