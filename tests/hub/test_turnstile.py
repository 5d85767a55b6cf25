"""A crowd that comes at once goes through a few at a time, and everybody else has a turn in between."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from collabd.hub.turnstile import CROWD, PER_TURN, Turnstile


async def test_a_crowd_goes_through_a_few_in_each_turn_and_in_order() -> None:
    """A bystander runs in every turn, so it sees those of two turns at most go by."""
    turnstile = Turnstile()
    through: list[int] = []
    seen: list[int] = []

    async def come(number: int) -> None:
        await turnstile.pass_through()
        through.append(number)

    async def stand_by() -> None:
        while len(through) < 50:
            seen.append(len(through))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(come, number)
        nursery.start_soon(stand_by)
    assert max(after - before for before, after in zip(seen, [*seen[1:], 50], strict=True)) <= 2 * PER_TURN
    assert sorted(through) == list(range(50))


async def test_one_who_is_cancelled_in_the_queue_keeps_nobody_back(autojump_clock: MockClock) -> None:
    """A connection that ends while it waits takes no place with it."""
    turnstile = Turnstile()
    for _ in range(3 * PER_TURN):
        with trio.move_on_after(0) as cancelled:
            await turnstile.pass_through()
        assert cancelled.cancelled_caught
    with trio.fail_after(1):
        await turnstile.pass_through()


async def test_who_accepts_waits_until_the_queue_is_short() -> None:
    """And not longer: most of the crowd need not be through."""
    turnstile = Turnstile()
    through = 0

    async def come() -> None:
        nonlocal through
        await turnstile.pass_through()
        through += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3 * CROWD):
            nursery.start_soon(come)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        await turnstile.wait_short()
        assert CROWD < through < 3 * CROWD
    await turnstile.wait_short()
