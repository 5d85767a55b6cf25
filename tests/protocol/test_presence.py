"""Who is in a run: users with their sessions, and the grace time of those who were lost."""

from __future__ import annotations

from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collabd.protocol.presence import Presence

GRACE = 15.0
users = st.sampled_from(["ann", "ben", "cid"])


def test_two_sessions_of_one_user_are_one_user() -> None:
    """The others are told once, and only of the last session's end."""
    presence = Presence(GRACE)
    assert [presence.enter("ann"), presence.enter("ann")] == [True, False]
    assert len(presence) == 1
    assert [presence.leave("ann"), presence.leave("ann")] == [False, True]
    assert "ann" not in presence


def test_a_reload_is_neither_a_leave_nor_a_join() -> None:
    """Back within the grace time, nobody is told anything."""
    presence = Presence(GRACE)
    presence.enter("ann")
    presence.drop("ann", 100.0)
    assert presence.expire(114.9) == []
    assert presence.enter("ann") is False
    assert presence.expire(200.0) == []
    assert presence.users() == ["ann"]


def test_a_lost_user_is_gone_when_the_grace_time_is_over() -> None:
    """Not before, and exactly then."""
    presence = Presence(GRACE)
    presence.enter("ann")
    presence.drop("ann", 100.0)
    assert presence.next_expiry() == 115.0
    assert presence.expire(114.999) == []
    assert presence.expire(115.0) == ["ann"]
    assert presence.expire(115.0) == []
    assert presence.enter("ann") is True


def test_without_grace_a_loss_is_a_leave_at_the_next_look() -> None:
    """presence.grace_s = 0."""
    presence = Presence(0.0)
    presence.enter("ann")
    presence.drop("ann", 100.0)
    assert presence.expire(100.0) == ["ann"]


def test_a_cursor_belongs_to_a_present_user() -> None:
    """It goes with its user, stays through a reload, and a user who is gone has none."""
    presence = Presence(GRACE)
    presence.move_cursor("ann", b"1")
    assert presence.cursors() == {}
    presence.enter("ann")
    presence.move_cursor("ann", b"2")
    presence.move_cursor("ann", b"3")
    presence.drop("ann", 0.0)
    presence.move_cursor("ann", b"4")
    assert presence.cursors() == {"ann": b"4"}
    presence.expire(GRACE)
    assert presence.cursors() == {}


class PresenceAgainstModel(RuleBasedStateMachine):
    """Presence beside the plainest model: for each user how many sessions, and until when it is missed."""

    def __init__(self) -> None:
        super().__init__()
        self.presence = Presence(GRACE)
        self.now = 0.0
        self.sessions: dict[str, int] = {}
        self.missed_until: dict[str, float] = {}
        self.cursors: dict[str, bytes] = {}
        self.told: set[str] = set()

    def is_present(self, user: str) -> bool:
        """By the model."""
        return self.sessions.get(user, 0) > 0 or user in self.missed_until

    def gone(self, user: str) -> None:
        """In the model."""
        self.missed_until.pop(user, None)
        self.cursors.pop(user, None)
        self.told.discard(user)

    @rule(user=users)
    def enter(self, user: str) -> None:
        """A session comes: news exactly when the user was not there."""
        assert self.presence.enter(user) == (not self.is_present(user))
        self.sessions[user] = self.sessions.get(user, 0) + 1
        self.missed_until.pop(user, None)
        self.told.add(user)

    @precondition(lambda self: any(self.sessions.values()))
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """A session is lost."""
        user = data.draw(st.sampled_from(sorted(user for user, count in self.sessions.items() if count)))
        self.presence.drop(user, self.now)
        self.sessions[user] -= 1
        if not self.sessions[user]:
            self.missed_until[user] = self.now + GRACE

    @precondition(lambda self: any(self.sessions.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A session leaves on purpose: news exactly when it was the last."""
        user = data.draw(st.sampled_from(sorted(user for user, count in self.sessions.items() if count)))
        self.sessions[user] -= 1
        was_last = self.sessions[user] == 0
        assert self.presence.leave(user) == was_last
        if was_last:
            self.gone(user)

    @rule(seconds=st.sampled_from([0.0, 1.0, 7.0, GRACE, 40.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, and those whose grace is over are gone, once."""
        self.now += seconds
        due = {user for user, deadline in self.missed_until.items() if deadline <= self.now}
        gone = self.presence.expire(self.now)
        assert sorted(gone) == sorted(due)
        for user in due:
            self.gone(user)

    @rule(user=users, data=st.sampled_from([b"1", b"2"]))
    def move_cursor(self, user: str, data: bytes) -> None:
        """Somebody moves, perhaps one who is gone."""
        self.presence.move_cursor(user, data)
        if self.is_present(user):
            self.cursors[user] = data

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        """Everything that can be asked agrees; and whoever was told of a join sees that user until told of a leave."""
        expected = sorted(user for user in ("ann", "ben", "cid") if self.is_present(user))
        assert self.presence.users() == expected
        assert len(self.presence) == len(expected)
        assert all((user in self.presence) == (user in expected) for user in ("ann", "ben", "cid"))
        assert self.presence.cursors() == self.cursors
        assert self.presence.next_expiry() == min(self.missed_until.values(), default=inf)
        assert self.told == set(expected)


PresenceAgainstModel.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestPresenceAgainstModel = PresenceAgainstModel.TestCase
