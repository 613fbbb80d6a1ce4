"""A signal that arrives during a step takes effect, in the usual way, after the step and its checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from adapt.training import preemption


@pytest.fixture
def heard() -> list[str]:
    """The events in order; the handlers that were set before record the signals that reach them."""
    events: list[str] = []
    before = {number: signal.getsignal(number) for number in preemption.SIGNALS}
    for number in preemption.SIGNALS:
        signal.signal(number, lambda received, _: events.append(signal.Signals(received).name))
    yield events
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", preemption.SIGNALS, ids=lambda number: number.name)
def test_the_step_ends_the_state_is_saved_and_the_handler_has_the_signal(heard: list[str], number: int) -> None:
    for step in preemption.saving(range(3), lambda: heard.append("saved")):
        if step == 1:
            send(number)
        heard.append(f"step {step} ends")
    name = signal.Signals(number).name
    assert heard == ["step 0 ends", "step 1 ends", "saved", name, "step 2 ends"]
    send(number)
    assert heard[-1] == name


def test_two_signals_in_one_step_are_one_checkpoint(heard: list[str]) -> None:
    for _ in preemption.saving(range(1), lambda: heard.append("saved")):
        send(signal.SIGTERM)
        send(signal.SIGUSR2)
    assert heard == ["saved", "SIGTERM", "SIGUSR2"]


def test_a_signal_before_the_first_step_waits_too(heard: list[str]) -> None:
    """The first measurement writes the best weights; a signal during it waits for the first step."""

    def steps() -> Iterator[int]:
        send(signal.SIGTERM)
        heard.append("measured")
        yield 0

    for step in preemption.saving(steps(), lambda: heard.append("saved")):
        heard.append(f"step {step} ends")
    assert heard == ["measured", "step 0 ends", "saved", "SIGTERM"]


def leave_by_break() -> None:
    for _ in preemption.saving(range(3), lambda: pytest.fail("saved")):
        break


def leave_by_error() -> None:
    for _ in preemption.saving(range(3), lambda: pytest.fail("saved")):
        raise ZeroDivisionError


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_error])
def test_the_handlers_are_restored_however_the_loop_ends(heard: list[str], leave: Callable[[], None]) -> None:
    before = [signal.getsignal(number) for number in preemption.SIGNALS]
    try:
        leave()
    except ZeroDivisionError as error:  # its traceback still holds the frame of the loop
        assert error.__traceback__ is not None
        assert [signal.getsignal(number) for number in preemption.SIGNALS] == before
    assert [signal.getsignal(number) for number in preemption.SIGNALS] == before
    send(signal.SIGTERM)
    assert heard == ["SIGTERM"]


def test_a_handler_that_ends_the_run_ends_it_after_the_checkpoint(heard: list[str]) -> None:
    def requeue(number: int, frame: object) -> None:
        raise SystemExit(144)  # as submitit's does

    signal.signal(signal.SIGUSR2, requeue)
    with pytest.raises(SystemExit, match="144"):
        for _ in preemption.saving(range(3), lambda: heard.append("saved")):
            send(signal.SIGUSR2)
    assert heard == ["saved"] and signal.getsignal(signal.SIGUSR2) is requeue


def test_a_thread_that_may_not_set_handlers_goes_through_its_steps(heard: list[str]) -> None:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.extend(preemption.saving(range(3), lambda: pytest.fail("saved"))))
    thread.start()
    thread.join()
    assert seen == [0, 1, 2]
