"""The newest events of a run in memory: what is taken from it is what was told, within its bounds."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collabd.hub.ring import Ring, RingBudget

Place = tuple[str, str]
Told = tuple[bytes, bool, Place | None]

frame_sizes = st.sampled_from([1, 3, 10, 40])


def told(number: int, size: int = 10, *, critical: bool = False, state: str | None = None) -> Told:
    """An event whose frame says its number."""
    return (b"%d" % number).ljust(size, b"."), critical, None if state is None else ("GRAFT", state)


def ring_of(count: int, *, max_bytes: int = 10_000, critical: frozenset[int] = frozenset()) -> Ring:
    """A ring that was told so many events."""
    ring = Ring(max_bytes)
    for number in range(1, count + 1):
        ring.append(*told(number, critical=number in critical))
    return ring


def numbers(frames: list[bytes]) -> list[int]:
    """Which events these frames are."""
    return [int(frame.rstrip(b".")) for frame in frames]


def test_frames_come_out_in_order_and_once() -> None:
    """All after a position, up to the head."""
    frames, reached = ring_of(5).take(2, 5, 1000)
    assert (numbers(frames), reached) == ([3, 4, 5], 5)


def test_up_to_the_seam_only_critical_events_are_taken() -> None:
    """A late joiner's replay, and everything from its WELCOME on."""
    ring = ring_of(6, critical=frozenset({2, 3}))
    assert numbers(ring.take(0, 6, 1000, critical_until=4)[0]) == [2, 3, 5, 6]


def test_a_chunk_ends_with_the_frame_that_reaches_its_size() -> None:
    """So that even a frame larger than a chunk makes progress."""
    ring = ring_of(5)
    assert ring.take(0, 5, 1)[1] == 1
    assert ring.take(0, 5, 10)[1] == 1
    assert ring.take(0, 5, 11)[1] == 2


def test_a_limit_that_is_just_enough_reaches_the_end() -> None:
    """Nothing that would match is left, so nobody has to ask again to learn that."""
    ring = ring_of(6, critical=frozenset({2, 3}))
    assert ring.take(0, 6, 1000, critical_until=6, limit=2) == ([told(2)[0], told(3)[0]], 6)
    assert ring.take(0, 6, 1000, critical_until=6, limit=1)[1] == 2
    assert ring.take(0, 6, 20, critical_until=6)[1] == 6
    assert ring.take(3, 6, 1000, critical_until=6, limit=1) == ([], 6)


def in_memory(ring: Ring) -> int:
    """Bytes of all frames that the ring still refers to."""
    return sum(len(entry.frame) for entry in ring._entries)


def test_what_leaves_the_ring_leaves_memory() -> None:
    """At once, however few and large the frames are: the bound is on memory, not on a sum."""
    ring = ring_of(200, max_bytes=50)
    assert in_memory(ring) == 50
    ring.shrink(0)
    assert in_memory(ring) == 0


def test_the_newest_event_is_held_however_large() -> None:
    """Those who are level behind a slow socket need it."""
    ring = Ring(10)
    ring.append(b"x" * 1000, critical=False)
    assert ring.covers(0)
    ring.append(b"y", critical=False)
    assert not ring.covers(0)
    assert ring.covers(1)


def test_a_replay_that_began_before_a_trim_goes_on_from_memory() -> None:
    """The log has let the events go; their frames stay while there is room."""
    ring = ring_of(5)
    ring.trim(4)
    assert (ring.oldest, ring.first) == (4, 1)
    assert numbers(ring.take(1, 5, 1000)[0]) == [2, 3, 4, 5]


def test_trimming_names_the_state_that_leaves_the_log() -> None:
    """What is in memory need not be read again to be kept."""
    ring = Ring(1000)
    for number, state in enumerate(["a", None, "b", "c"], start=1):
        ring.append(*told(number, state=state))
    trimmed = ring.trim(4)
    assert trimmed is not None
    assert [entry.state for entry in trimmed] == [("GRAFT", "a"), ("GRAFT", "b")]
    assert ring.trim(4) == []
    assert ring.trim(3) == []


def test_trimming_what_is_not_in_memory_is_unknown_state() -> None:
    """None, not an empty list: the log has to be asked."""
    ring = Ring(25)
    for number in range(1, 5):
        ring.append(*told(number, state="a"))
    assert ring.first == 3
    assert ring.trim(2) is None
    assert ring.trim(4) is None
    trimmed = ring.trim(5)
    assert trimmed is not None
    assert len(trimmed) == 1


def test_a_loaded_run_knows_its_log_without_having_it_in_memory() -> None:
    """Flags of all retained events, frames of the newest that fit."""
    ring = Ring(100, oldest=11, head=20, critical_flags=bytes([1, 0] * 5))
    ring.fill([told(19), told(20, critical=False)])
    assert (ring.first, ring.covers(18), ring.covers(17)) == (19, True, False)
    assert [ring.critical_after(after) for after in (10, 11, 14, 20, 0)] == [5, 4, 3, 0, 5]
    assert ring.append(*told(21, critical=True)) == 21
    assert ring.critical_after(18) == 2
    assert numbers(ring.take(18, 21, 1000)[0]) == [19, 20, 21]


class RingAgainstModel(RuleBasedStateMachine):
    """The ring beside the plainest model: a list of all events ever told."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Told] = []
        self.oldest = 1
        self.first = 1
        self.ring = Ring(60)

    @initialize(data=st.data(), history=st.lists(st.tuples(frame_sizes, st.booleans()), max_size=8))
    def load(self, data: st.DataObject, history: list[tuple[int, bool]]) -> None:
        """A run begins with some history, the newest part of which is in memory."""
        self.events = [told(number, size, critical=flag) for number, (size, flag) in enumerate(history, start=1)]
        head = len(self.events)
        self.oldest = data.draw(st.integers(1, head + 1), "oldest")
        self.first = data.draw(st.integers(self.oldest, head + 1), "first in memory")
        flags = bytes(critical for _, critical, _ in self.events[self.oldest - 1 :])
        self.ring = Ring(60, oldest=self.oldest, head=head, critical_flags=flags)
        self.ring.fill(self.events[self.first - 1 :])

    @property
    def head(self) -> int:
        """The newest number."""
        return len(self.events)

    def held(self) -> int:
        """Bytes in memory, by the model."""
        return sum(len(frame) for frame, _, _ in self.events[self.first - 1 :])

    @rule(size=frame_sizes, critical=st.booleans(), state=st.sampled_from([None, "a", "b"]))
    def append(self, size: int, critical: bool, state: str | None) -> None:
        """An event is told; the oldest frames make room, but never the newest."""
        event = told(self.head + 1, size, critical=critical, state=state)
        self.events.append(event)
        assert self.ring.append(*event) == self.head
        while self.held() > 60 and self.first < self.head:
            self.first += 1

    @rule(data=st.data())
    def trim(self, data: st.DataObject) -> None:
        """The log lets its oldest go."""
        oldest = data.draw(st.integers(1, self.head + 1))
        trimmed = self.ring.trim(oldest)
        if oldest <= self.oldest:
            assert trimmed == []
            return
        if self.first <= self.oldest:
            gone = self.events[self.oldest - 1 : oldest - 1]
            assert trimmed is not None
            assert [(entry.frame, entry.state) for entry in trimmed] == [(e[0], e[2]) for e in gone if e[2] is not None]
        else:
            assert trimmed is None
        self.oldest = oldest

    @rule(max_bytes=st.sampled_from([0, 10, 50, 100]))
    def shrink(self, max_bytes: int) -> None:
        """Memory is wanted elsewhere."""
        self.ring.shrink(max_bytes)
        while self.held() > max_bytes:
            self.first += 1

    @precondition(lambda self: self.first <= self.head)
    @rule(data=st.data(), max_bytes=st.sampled_from([1, 5, 30, 1000]), limit=st.none() | st.integers(1, 4))
    def take(self, data: st.DataObject, max_bytes: int, limit: int | None) -> None:
        """A replay takes a chunk: exactly the events that match, as many as bounds allow, and not one less."""
        after = data.draw(st.integers(self.first - 1, self.head), "after")
        last = data.draw(st.integers(after, self.head), "last")
        until = data.draw(st.integers(0, self.head), "critical until")
        frames, reached = self.ring.take(after, last, max_bytes, critical_until=until, limit=limit)
        matching = [
            number for number in range(after + 1, last + 1) if number > until or self.events[number - 1][1]
        ]  # fmt: skip
        given = [number for number in matching if number <= reached]
        assert frames == [self.events[number - 1][0] for number in given]
        assert (reached == last) == (len(given) == len(matching))
        sizes = [len(frame) for frame in frames]
        assert sum(sizes[:-1]) < max_bytes
        assert limit is None or len(frames) <= limit
        if reached < last:
            assert sum(sizes) >= max_bytes or len(frames) == limit

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        """Every number that can be asked for."""
        assert (self.ring.head, self.ring.oldest, self.ring.first) == (self.head, self.oldest, self.first)
        assert self.ring.size == self.held() == in_memory(self.ring)
        for after in range(self.head + 1):
            rest = self.events[after:]
            assert self.ring.covers(after) == (after + 1 >= self.first)
            assert self.ring.bytes_after(after) == min(self.held(), sum(len(frame) for frame, _, _ in rest))
            retained = self.events[max(after, self.oldest - 1) :]
            assert self.ring.critical_after(after) == sum(critical for _, critical, _ in retained)


RingAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRingAgainstModel = RingAgainstModel.TestCase


def test_a_ring_of_thousands_stays_exact() -> None:
    """Entries that are gone are cut off in bulk; the numbers must not notice."""
    ring = Ring(3_000)
    for number in range(1, 2_001):
        ring.append(*told(number))
        assert ring.size <= 3_000
    assert ring.first == 1_701
    assert numbers(ring.take(1_700, 2_000, 10_000)[0]) == list(range(1_701, 2_001))
    assert len(ring._entries) < 1_000


# All rings together


def test_the_rings_of_quiet_runs_make_room_for_busy_ones() -> None:
    """Who was told something last keeps its memory longest."""
    budget = RingBudget(250)
    quiet, busy = ring_of(10), ring_of(10)
    budget.settle(quiet)
    budget.settle(busy)
    assert (quiet.size, busy.size) == (100, 100)
    for number in range(11, 20):
        busy.append(*told(number))
        budget.settle(busy)
    assert (quiet.size, busy.size) == (0, 190)
    assert budget.used == 190


def test_a_large_ring_gives_half_at_a_time() -> None:
    """A run that is quiet for a moment need not read everything from the log again."""
    budget = RingBudget(250_000)
    quiet, busy = (ring_of(20, max_bytes=10**6) for _ in range(2))
    for ring in (quiet, busy):
        for number in range(21, 41):
            ring.append(*told(number, 6_000))
        budget.settle(ring)
    busy.append(*told(41, 20_000))
    budget.settle(busy)
    assert quiet.size == 60_000
    assert busy.size == 140_200


def test_one_ring_alone_may_be_larger_than_all_may_be() -> None:
    """Then it shrinks itself."""
    budget = RingBudget(50)
    ring = ring_of(10)
    budget.settle(ring)
    assert (ring.size, budget.used) == (0, 0)


@pytest.mark.parametrize("settled", [True, False])
def test_a_closed_run_gives_its_bytes_back(settled: bool) -> None:
    """Once, and also when it never had any."""
    budget = RingBudget(1000)
    ring = ring_of(10)
    if settled:
        budget.settle(ring)
    budget.release(ring)
    budget.release(ring)
    assert budget.used == 0


class BudgetAgainstModel(RuleBasedStateMachine):
    """Runs come, grow and go; the sum is always true and never above its bound after a change."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = RingBudget(400_000)
        self.rings: list[Ring] = []

    @rule()
    def open(self) -> None:
        """A run is loaded."""
        self.rings.append(Ring(300_000))
        self.budget.settle(self.rings[-1])

    @precondition(lambda self: self.rings)
    @rule(data=st.data(), size=st.sampled_from([10, 30_000, 70_000, 500_000]))
    def append(self, data: st.DataObject, size: int) -> None:
        """A run tells an event."""
        ring = data.draw(st.sampled_from(self.rings))
        ring.append(b"x" * size, critical=False)
        self.budget.settle(ring)

    @precondition(lambda self: self.rings)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        """An idle run leaves memory."""
        self.budget.release(self.rings.pop(data.draw(st.integers(0, len(self.rings) - 1))))

    @invariant()
    def the_sum_is_true_and_bounded(self) -> None:
        """Of all rings that are open."""
        assert self.budget.used == sum(ring.size for ring in self.rings)
        assert self.budget.used <= self.budget.max_bytes


BudgetAgainstModel.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestBudgetAgainstModel = BudgetAgainstModel.TestCase
