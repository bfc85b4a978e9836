"""What is sent lands once, whole, and is handed over when its study has been quiet."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_assets.running.receiving.arrivals import Arrivals, Kept, NoSpace
from enrich_assets.studies.drops import READY, folders


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def arrivals(tmp_path, clock):
    return Arrivals(tmp_path / "incoming", 60, clock=clock)


def files(drop: Path) -> list[bytes]:
    return sorted(file.read_bytes() for file in drop.glob("*.dcm"))


def test_a_study_is_handed_over_once_it_has_been_quiet(arrivals, clock):
    arrivals.keep("1.2", "1.2.1", b"a")
    clock.now += 59
    assert arrivals.hand_over() == []
    arrivals.keep("1.2", "1.2.2", b"b")
    clock.now += 59
    assert arrivals.hand_over() == []  # the last file counts, not the first
    assert folders(str(arrivals.incoming)) == []  # the sensor sees nothing of it
    clock.now += 1
    (drop,) = arrivals.hand_over()
    assert folders(str(arrivals.incoming)) == [drop]
    assert files(arrivals.incoming / drop) == [b"a", b"b"]
    assert (arrivals.incoming / drop / READY).exists()
    assert arrivals.hand_over() == []


def test_no_name_leads_back_to_a_uid(arrivals, clock):
    arrivals.keep("1.2.840.99", "1.2.840.99.7", b"a")
    arrivals.hand_over(whole="1.2.840.99")
    assert not [path for path in arrivals.incoming.rglob("*") if "1.2.840" in path.name]
    assert not [path for path in arrivals.incoming.rglob("*.json") if "1.2.840" in path.read_text()]


def test_what_is_sent_again_is_kept_once_before_and_after_the_hand_over(arrivals):
    assert arrivals.keep("1", "1.1", b"a") is Kept.NEW
    assert arrivals.keep("1", "1.1", b"a") is Kept.AGAIN
    assert arrivals.keep("1", "1.1", b"other") is Kept.ANOTHER
    arrivals.hand_over(whole="1")
    assert arrivals.keep("1", "1.1", b"a") is Kept.AGAIN
    assert arrivals.keep("1", "1.1", b"other") is Kept.ANOTHER
    assert arrivals.hand_over(whole="1") == []  # nothing new: no second drop


def test_what_comes_late_is_a_drop_of_its_own_with_what_is_new_alone(arrivals):
    arrivals.keep("1", "1.1", b"a")
    (first,) = arrivals.hand_over(whole="1")
    arrivals.keep("1", "1.1", b"a")
    arrivals.keep("1", "1.2", b"b")
    (second,) = arrivals.hand_over(whole="1")
    assert first != second
    assert files(arrivals.incoming / first) == [b"a"]
    assert files(arrivals.incoming / second) == [b"b"]


def test_a_new_process_hands_over_what_an_earlier_one_received(arrivals, tmp_path):
    arrivals.keep("1", "1.1", b"a")
    (arrivals.incoming / ".receiving" / next(iter(arrivals._last)) / ".half.7").write_bytes(b"hal")
    later = Arrivals(tmp_path / "incoming", 0)
    (drop,) = later.hand_over()
    assert sorted(path.name for path in (later.incoming / drop).iterdir() if path.suffix != ".dcm") == [READY]


def test_a_full_disk_keeps_nothing_of_the_file_and_everything_before_it(arrivals, monkeypatch):
    arrivals.keep("1", "1.1", b"a")
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        write(path, content[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NoSpace):
        arrivals.keep("1", "1.2", b"bb")
    monkeypatch.undo()
    assert arrivals.keep("1", "1.2", b"bb") is Kept.NEW  # sent again, it is kept
    (drop,) = arrivals.hand_over(whole="1")
    assert files(arrivals.incoming / drop) == [b"a", b"bb"]


def test_a_clock_set_back_holds_no_study_back(arrivals, clock):
    arrivals.keep("1", "1.1", b"a")
    clock.now -= 10_000
    assert len(arrivals.hand_over()) == 1


def test_many_senders_at_once_lose_nothing(arrivals):
    sent = [(str(study), f"{study}.{k}", bytes([study, k])) for study in range(4) for k in range(30)]
    threads = [threading.Thread(target=lambda part=part: [arrivals.keep(*one) for one in part]) for part in
               (sent[::3], sent[1::3], sent[2::3], sent[::2])]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drops = [arrivals.hand_over(whole=str(study))[0] for study in range(4)]
    assert [len(files(arrivals.incoming / drop)) for drop in drops] == [30] * 4


@given(steps=st.lists(st.tuples(st.sampled_from("kqh"), st.integers(0, 2), st.integers(0, 3)), max_size=30))
def test_whatever_the_order_each_instance_is_handed_over_exactly_once(steps, tmp_path_factory):
    clock = Clock()
    arrivals = Arrivals(tmp_path_factory.mktemp("a") / "incoming", 10, clock=clock)
    sent = set()
    for what, study, instance in steps:
        if what == "k":
            arrivals.keep(str(study), f"{study}.{instance}", bytes([study, instance]))
            sent.add(bytes([study, instance]))
        elif what == "q":
            clock.now += 10
        else:
            arrivals.hand_over()
    clock.now += 10
    arrivals.hand_over()
    handed = [content for drop in folders(str(arrivals.incoming)) for content in files(arrivals.incoming / drop)]
    assert sorted(handed) == sorted(sent)
