# SPDX-License-Identifier: Apache-2.0
"""The book: one attempt at a time, back-off in one place."""

from __future__ import annotations

from vici_mif.core.actions import Clone, Say
from vici_mif.core.requests import BACKOFF_DELAYS, Book

KEY = ("clone", "hq")


def ask(book: Book, now: float, limit: float = 30.0) -> str | None:
    action = book.ask(KEY, lambda tag: Clone(tag, 1), now, limit)
    return action.tag if action else None


def test_one_attempt_at_a_time() -> None:
    """While it is under way it is not asked again; afterwards it may be."""
    book = Book()
    tag = ask(book, 0.0)
    assert tag is not None
    assert ask(book, 1.0) is None
    book.end(tag)

    assert ask(book, 2.0) not in {None, tag}


def test_failures_wait_longer_each_time() -> None:
    """1, 2, 4 ... 60 seconds, and it stays at the last."""
    book, now, waits = Book(), 0.0, []
    for _ in range(9):
        failure = book.fail(KEY, now, "timeout")
        assert not book.free(KEY, failure.retry_at - 0.01)
        assert book.free(KEY, failure.retry_at)
        waits.append(failure.retry_at - now)
        now = failure.retry_at

    assert waits == [*BACKOFF_DELAYS, 60.0, 60.0]


def test_success_or_a_changed_world_forgives() -> None:
    """The next failure is the first again."""
    book = Book()
    book.fail(KEY, 0.0, "timeout")
    book.fail(KEY, 0.0, "timeout")
    book.forgive(KEY)

    assert book.free(KEY, 0.0)
    assert book.fail(KEY, 0.0, "timeout").count == 1


def test_an_end_that_never_comes() -> None:
    """The limit makes it expire, and the deadline tells when."""
    book = Book()
    tag = ask(book, 10.0, limit=5.0)

    assert book.next_deadline(10.0) == 15.0
    assert book.expired(14.9) == []
    assert book.expired(15.0) == [tag]


def test_deadlines_of_the_past_are_none() -> None:
    """A retry that nobody wants any more does not wake anybody twice."""
    book = Book()
    book.fail(KEY, 0.0, "timeout")

    assert book.next_deadline(0.5) == 1.0
    assert book.next_deadline(1.0) is None


def test_charon_gone_forgets_its_requests_only() -> None:
    """What the kernel was asked for is still under way."""
    book = Book()
    ask(book, 0.0)
    book.ask(("say",), lambda tag: Say(tag, "x"), 0.0)
    book.fail(("child", "hq", 1), 0.0, "timeout")
    book.drop_charon()

    assert book.under_way(KEY) is None
    assert book.under_way(("say",)) is not None
    assert book.free(("child", "hq", 1), 0.0)


def test_an_unknown_or_late_end_is_nobodys() -> None:
    """It ends nothing."""
    book = Book()
    tag = ask(book, 0.0)
    assert tag is not None
    book.drop(KEY)

    assert book.end(tag) is None
    assert book.end("mif-99") is None


def test_rekeying_renames() -> None:
    """What is kept under an IKE_SA's number follows it; a word or a name does not."""
    book = Book()
    book.ask(("move", "hq", 5), lambda tag: Clone(tag, 5), 0.0)
    book.fail(("child", "hq", 5, "net"), 0.0, "timeout")
    book.rename(5, 8)

    assert book.under_way(("move", "hq", 8)) is not None
    assert book.under_way(("move", "hq", 5)) is None
    assert book.failures(("child", "hq", 8, "net")) == 1
