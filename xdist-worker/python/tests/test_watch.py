"""What is noted before workers are forked, and what is not."""

from __future__ import annotations

import atexit
import os
import random
import tempfile
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from xdist_pytest.watch import Watch, WatchedInput

VARIABLE = "PYTEST_XDIST_WORKER"


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """One that watches this process."""
    monkeypatch.setenv(VARIABLE, "gw0")
    state = random.getstate()
    watch = Watch()
    watch.start()
    yield watch
    watch.stop()
    random.setstate(state)


#: What somebody has taken out of the environment.
kept: list[Any] = []


@pytest.mark.parametrize(
    "read",
    [
        lambda: os.environ[VARIABLE],
        lambda: os.environ.get(VARIABLE),
        lambda: os.getenv(VARIABLE),
        lambda: dict(os.environ),
        lambda: os.environ.copy(),
        lambda: kept.append(list(os.environ.items())),
        lambda: kept.extend(os.environ.values()),
        lambda: ["test_" + value for name, value in os.environ.items()],
        lambda: [f"{value}" for value in os.environ.values()],
        lambda: [value[2:] for value in os.environ.values()],
        lambda: {value: 1 for value in os.environ.values()},
        lambda: {**os.environ},
    ],
)
def test_reading_the_workers_name_is_noted_with_its_place(watch: Watch, read: Callable[[], Any]) -> None:
    assert watch.noted is None
    read()
    assert str(watch.noted).startswith(f"{__file__}:")


@pytest.mark.parametrize(
    "read",
    [
        lambda: os.environ.get("PATH"),
        lambda: {name: value for name, value in os.environ.items() if name.startswith("PATH")},
        lambda: [*os.environ],
        lambda: sorted(os.environ.keys()),
        lambda: os.environ["PATH"],
        lambda: VARIABLE in os.environ,
        lambda: os.getenv("PYTEST_XDIST_WORKER_COUNT"),
        lambda: os.environ.update(MINE="1"),
        lambda: os.environ.pop("MINE"),
    ],
)
def test_reading_anything_else_is_not(watch: Watch, read: Callable[[], Any]) -> None:
    read()
    assert watch.noted is None


def entries(watch: Watch) -> WatchedInput:
    return WatchedInput({"workerid": "gw0", "workercount": 2}, watch)


@pytest.mark.parametrize(
    "read",
    [
        lambda entries: entries["workerid"],
        lambda entries: entries.get("workerid"),
        dict,
        list,
        lambda entries: {**entries},
        lambda entries: entries.copy(),
        lambda entries: list(entries.values()),
        lambda entries: list(entries.keys()),
        lambda entries: list(entries.items()),
    ],
)
def test_the_name_may_be_read_from_the_input_too(watch: Watch, read: Callable[[Any], Any]) -> None:
    read(entries(watch))
    assert str(watch.noted).startswith(f"{__file__}:")


def test_other_entries_of_the_input_do_not_matter(watch: Watch) -> None:
    given = entries(watch)
    assert given["workercount"] == given.get("workercount") == 2
    assert "workerid" in given
    assert watch.noted is None


def test_what_a_plugin_put_in_may_differ_between_workers(watch: Watch) -> None:
    assert entries(watch).get("mine", 1) == 1
    assert watch.noted is not None


def test_what_is_to_be_called_at_exit(watch: Watch) -> None:
    def function() -> None:
        pass

    try:
        assert atexit.register(function) is function
        with watch.looking_away():
            atexit.register(function)
        assert watch.at_exit == [f"{__name__}.{function.__qualname__}"]
    finally:
        atexit.unregister(function)


@pytest.mark.parametrize(
    ("seed", "seeded"),
    [
        (lambda: None, False),
        (lambda: random.random(), False),
        (lambda: random.seed(), False),
        (lambda: random.seed(None), False),
        (lambda: random.Random(1), False),
        (lambda: random.seed(1), True),
        (lambda: random.seed(a=1), True),
        (lambda: random.seed("text", 2), True),
        (lambda: random.setstate(random.getstate()), True),
        (lambda: (random.seed(1), random.seed()), False),
    ],
)
def test_seeds(watch: Watch, seed: Callable[[], Any], seeded: bool) -> None:
    seed()
    assert watch.seeded is seeded


def test_seeding_still_works(watch: Watch) -> None:
    random.seed(7)
    first = random.random()
    random.seed(7)
    assert random.random() == first == random.Random(7).random()


def test_generators_without_a_seed(watch: Watch) -> None:
    unseeded = random.Random()
    seeded = random.Random(1)
    assert list(watch.unseeded) == [unseeded]
    unseeded.setstate(seeded.getstate())
    seeded.seed()
    assert list(watch.unseeded) == [seeded]
    assert unseeded.random() == random.Random(1).random()
    del seeded
    assert not watch.unseeded


def test_who_leaves_something_to_be_done_at_the_end(watch: Watch) -> None:
    class Config:
        done: list[Any] = []

        def add_cleanup(self, function: Any) -> None:
            self.done.append(function)

    config: Any = Config()
    watch.start_on(config)
    config.add_cleanup(print)
    ((module, place),) = watch.cleanups
    assert module == __name__
    assert place.startswith(f"{__file__}:")
    assert config.done == [print]


def test_functions_that_somebody_has_kept_note_nothing_afterwards() -> None:
    watch = Watch()
    watch.start()
    kept, kept_temporary = os.getpid, tempfile.mktemp
    watch.stop()
    kept()
    kept_temporary()
    assert watch.noted is None


def test_who_was_first_is_noted(watch: Watch) -> None:
    for _ in range(3):
        os.getpid()
    assert str(watch.noted).startswith(f"{__file__}:")


def test_everything_is_left_as_it_was_found() -> None:
    def parts() -> tuple[Any, ...]:
        return type(os.environ), atexit.register, random.seed, random.setstate, random.Random.seed

    before = parts()
    watch = Watch()
    watch.start()
    assert all(now != then for now, then in zip(parts(), before))
    watch.stop()
    assert parts() == before
    assert os.environ.get(VARIABLE) is None or watch.noted is None
