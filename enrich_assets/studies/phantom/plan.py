"""Who is in the phantom archive: patients, their studies, and what each clip will show, drawn at random.

Nothing is pictured here. The archive is redundant because hearts beat and sonographers linger, and rare where nature is
rare; nothing in it looks at how frames will be chosen. What a clip's frames look like: `drawing`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from enrich_assets.studies.phantom.anatomy import TARGET
from enrich_assets.studies.phantom.build import Build, draw_build, draw_waves
from enrich_assets.studies.phantom.files import Identity
from enrich_assets.studies.phantom.ultrasound import Pose, Sector, Setting

SWEEP = ("abdomen", "ventricles", "A4C", "LVOT", "3VV", "3VT")  # the order in which a sweep meets the planes

_OTHER_VIEWS = {"LVOT": 0.1, "ventricles": 0.1, "3VV": 0.2, "abdomen": 0.22, "SAX": 0.12, "3VT": 0.14, "head": 0.06,
                "limb": 0.06}  # fmt: skip
_FAMILY = ("MUSTER", "BEISPIEL", "DOE", "ROE", "ROSSI", "NOVAK", "JANSEN", "SILVA", "TANAKA", "OKAFOR", "LARSEN")
_GIVEN = ("ANNA", "JANE", "MARIE", "LUCIA", "EVA", "YUKI", "INGRID", "AMARA", "SOFIA", "CLARA")
# The department's machines: sector, beam width, pulse length, speckle reduction, dynamic range, gamma; share of studies.
_MACHINES = (
    (Sector(0.62, 62, 13, 276), 1.2, 1.0, 0.75, 48.0, 1.05, 0.5),
    (Sector(0.55, 95, 12, 278), 1.5, 1.2, 0.85, 52.0, 1.0, 0.3),
    (Sector(0.68, 40, 16, 270), 1.0, 0.9, 0.65, 45.0, 1.15, 0.2),
)
_HOSPITALS = ("ST ELSEWHERE", "GENERAL HOSPITAL", "WOMENS CLINIC")


@dataclass(frozen=True)
class ClipPlan:
    """A clip before it is drawn. views: one, or several in the order of a sweep. drift: how restless the fetus is."""

    name: str
    form: str  # 'dcm', 'avi', 'mp4', 'png'
    views: tuple[str, ...]
    n_frames: int
    build: Build
    pose: Pose
    setting: Setting
    drift: float
    seed: int


@dataclass(frozen=True)
class StudyPlan:
    """A study before it is drawn: one visit of a patient, on one machine."""

    study_id: str
    patient_id: str
    identity: Identity
    sector: Sector
    frames_per_second: int
    beats_per_second: float
    clips: tuple[ClipPlan, ...]


@dataclass(frozen=True)
class _Subject:
    """What all clips of a patient share."""

    build: Build
    lie: float  # of the fetus: angle of the apex away from the probe, radians
    mirrored: bool
    setting: Setting


def plan_patient(seed: int, number: int, scale: float = 1.0) -> list[StudyPlan]:
    """The studies of a patient, before anything is drawn.

    Parameters
    ----------
    seed, number : int
        Of the archive, and of the patient in it from 0 on. The same pair is the same person.
    scale : float
        Of the clips' lengths.
    """
    rng = np.random.default_rng([seed, number])
    patient = f"PH{number + 1:04d}"
    build = draw_build(rng)
    # Which way the fetus lies: apex to the probe (apical, what a sonographer waits for), away from it, or sideways.
    lie = float(rng.choice([0.0, np.pi, np.pi / 2, -np.pi / 2], p=[0.86, 0.08, 0.03, 0.03]) + rng.normal(0, 0.22))
    mirrored = bool(rng.random() < 0.3)
    identity = _draw_identity(rng, number)
    sector, setting = _draw_machine(rng)
    subject = _Subject(build, lie, mirrored, setting)
    studies = []
    for visit in range(1 + int(rng.random() < 0.15)):
        size = float(rng.uniform(115, 155))
        clips = [
            _plan_clip(rng, f"v{visit + 1}c{k + 1:02d}", views, subject, size, scale)
            for k, views in enumerate(_draw_views(rng))
        ]
        studies.append(
            StudyPlan(
                study_id=f"{patient}-{visit + 1}",
                patient_id=patient,
                identity=replace(identity, study_number=identity.study_number * 10 + visit),
                sector=sector,
                frames_per_second=int(rng.choice([25, 30, 40])),
                beats_per_second=float(rng.normal(2.35, 0.12)),
                clips=tuple(clips),
            )
        )
    return studies


def _draw_views(rng: np.random.Generator) -> list[tuple[str, ...]]:
    """At least one target and one other clip a study; now and then a sweep through the planes."""
    names, shares = list(_OTHER_VIEWS), np.array(list(_OTHER_VIEWS.values()))
    clips: list[tuple[str, ...]] = [(TARGET,), (str(rng.choice(names, p=shares)),)]
    for _ in range(int(rng.integers(3, 8))):
        chance = rng.random()
        if chance < 0.36:
            clips.append((TARGET,))
        elif chance < 0.44:
            start = int(rng.integers(0, len(SWEEP) - 2))
            planes = SWEEP[start : start + int(rng.integers(2, 4))]
            clips.append(planes if rng.random() < 0.5 else planes[::-1])
        else:
            clips.append((str(rng.choice(names, p=shares)),))
    return [clips[k] for k in rng.permutation(len(clips))]


def _draw_length(rng: np.random.Generator, sweep: bool) -> int:
    """A few frames mostly, a heart beat or two often, a long look now and then."""
    kind = rng.random()
    if kind < 0.74 and not sweep:
        return int(rng.integers(1, 7))
    if kind < 0.97:
        return int(rng.integers(8, 17))
    return int(rng.integers(40, 105))


def _plan_clip(
    rng: np.random.Generator, name: str, views: tuple[str, ...], subject: _Subject, size: float, scale: float
) -> ClipPlan:
    """One clip of a patient. size: radius of the chest in pixels at this visit. scale: of the clip's length."""
    length = _draw_length(rng, len(views) > 1)
    n_frames = max(1 if length < 4 else 3, round(length * scale))
    form = "png" if length < 4 else str(rng.choice(["dcm", "avi", "mp4"], p=[0.5, 0.2, 0.3]))
    turn = subject.lie - subject.build.heart_axis + float(rng.normal(0, 0.12))
    x, y = rng.normal((199.5, 152.0), 9)
    pose = Pose(turn, size * float(rng.uniform(0.9, 1.1)), float(x), float(y), subject.mirrored)
    # Off-centre structures (apex, arches) are brought to the middle of the picture, as a sonographer would.
    middle = pose.to_picture(np.array([[0.12, -0.05]]))[0]
    pose = replace(pose, x=pose.x + 0.7 * (199.5 - middle[0]), y=pose.y + 0.7 * (152 - middle[1]))
    return ClipPlan(
        name=name,
        form=form,
        views=views,
        n_frames=n_frames,
        build=replace(subject.build, waves=np.vstack([subject.build.waves, draw_waves(rng, 2, 0.015)])),
        pose=pose,
        setting=replace(
            subject.setting,
            gain=subject.setting.gain + float(rng.normal(0, 0.8)),
            depth_gain=tuple(float(g) for g in rng.normal(0, 1.2, 3)),  # type: ignore[arg-type]
            near_wall=float(rng.uniform(14, 42)),
        ),
        drift=float(rng.choice([0.4, 1.0, 3.0], p=[0.5, 0.35, 0.15])),
        seed=int(rng.integers(1 << 31)),
    )


def _draw_machine(rng: np.random.Generator) -> tuple[Sector, Setting]:
    """One of the department's machines, and how this mother's tissue and these knobs make it look."""
    machine = _MACHINES[int(rng.choice(len(_MACHINES), p=[m[-1] for m in _MACHINES]))]
    sector, lateral, axial, smoothing, dynamic_range, gamma, _ = machine
    return sector, Setting(
        gain=float(rng.normal(0, 1.0)),
        dynamic_range=dynamic_range,
        attenuation=float(rng.uniform(3, 10)),
        haze=float(np.exp(rng.uniform(np.log(0.02), np.log(0.12)))),
        noise=float(rng.uniform(-46, -38)),
        lateral=lateral,
        axial=axial,
        specular=float(rng.uniform(0.3, 1.1)),
        smoothing=smoothing,
        unevenness=float(rng.uniform(1.0, 2.5)),
        surroundings=float(rng.choice([66.0, 128.0, 146.0], p=[0.35, 0.3, 0.35])),
        gamma=gamma,
    )


def _draw_identity(rng: np.random.Generator, number: int) -> Identity:
    weeks, days = int(rng.integers(18, 32)), int(rng.integers(0, 7))
    return Identity(
        name=f"{rng.choice(_FAMILY)}^{rng.choice(_GIVEN)}",
        number=f"{rng.integers(10**6, 10**7)}",
        birth_date=f"{rng.integers(1978, 2003)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
        study_date=f"{rng.integers(2012, 2022)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
        study_number=1000 + number,
        hospital=str(rng.choice(_HOSPITALS)),
        physician=f"{rng.choice(_FAMILY)}^DR",
        weeks=f"{weeks}w{days}d",
    )
