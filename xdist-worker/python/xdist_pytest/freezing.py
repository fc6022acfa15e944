"""Keeps the garbage collector from going through everything that collection has left, again and again.

While things are imported and collected, most of what is made stays, so that the collector is told to look less often.
What is there is hidden from it twice: pytest itself, before anything of the user's is imported, and the rest after
collection. In between the garbage of collection is looked for, once and in one worker, among that rest.

`gc.freeze` hides objects from the collector, and so from functions of the module gc as well. So these are replaced here:
they let the hidden objects be seen for the time of the call.
"""

from __future__ import annotations

import functools
import gc
import sys
from typing import Any, Callable

# Tests replace and remove functions of modules.
_getframe = sys._getframe

#: Functions whose answer depends on the objects that the collector knows.
_LOOK_AT_OBJECTS = ("collect", "get_objects", "get_referrers")
#: Functions for those who do the same as we.
_FREEZE = ("freeze", "unfreeze", "get_freeze_count")

#: pytest collects garbage several times at the end of a session, for the sake of warnings. What is hidden was looked
#: through by then (`Freezing.look_through_and_hide`).
_LOOKS_AT_THE_END = "_pytest.unraisableexception"
#: How many containers may be made between two looks while everything is imported and collected. Python's own 700 cost a
#: sixth of the time of collection.
_PATIENT = 50_000


class Freezing:
    """Hides objects, and shows them to whoever asks. There is one in a process, since it changes the module gc."""

    def __init__(self) -> None:
        self._hidden = False
        #: Whether more will be hidden, after it was looked through.
        self._is_collecting = False
        #: Whether more is hidden than was looked through.
        self._unseen = False
        self._originals: dict[str, Callable[..., Any]] = {}
        self._usual: tuple[int, ...] = ()

    def install(self) -> None:
        """Takes the place of functions of gc. To be called before anybody imports them by name."""
        for name in _LOOK_AT_OBJECTS:
            self._replace(name, self._shown)
        for name in _FREEZE:
            if hasattr(gc, name):
                self._replace(name, self._given_up)

    def look_less_often(self) -> None:
        """Lets more be made between two looks, until `look_as_usual`."""
        self._usual = gc.get_threshold()
        if 0 < self._usual[0] < _PATIENT:
            gc.set_threshold(_PATIENT, *self._usual[1:])

    def look_as_usual(self) -> None:
        """Ends what `look_less_often` began, unless somebody else has chosen how often to look."""
        if gc.get_threshold()[0] == _PATIENT:
            gc.set_threshold(*self._usual)

    def hide_before_collection(self) -> None:
        """Hides all objects that there are, until somebody looks or `hide` is called."""
        self.hide()
        self._is_collecting = self._hidden

    def hide(self) -> None:
        """Hides all objects that there are."""
        self._is_collecting = False
        freeze = self._originals.get("freeze")
        if freeze is not None:
            freeze()
            self._hidden = True

    def show(self) -> None:
        """Hides nothing any more."""
        self._is_collecting = False
        if self._hidden:
            self._hidden = False
            self._originals["unfreeze"]()

    def look_through_and_hide(self) -> None:
        """Collects the garbage that is not hidden, and hides what is left."""
        self._originals["collect"]()
        self.hide()

    def _replace(self, name: str, stand_in: Callable[..., Any]) -> None:
        original = getattr(gc, name)
        self._originals[name] = original
        setattr(gc, name, functools.wraps(original)(functools.partial(stand_in, original)))

    def _shown(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Calls a function that is to see everything."""
        if self._is_collecting:
            # Hidden again, what becomes garbage during collection would not be found.
            self.show()
        at_the_end = _getframe(1).f_globals.get("__name__") == _LOOKS_AT_THE_END
        if not self._hidden or (at_the_end and not self._unseen):
            return function(*args, **options)
        return self._see(function, *args, **options)

    def _see(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._originals["unfreeze"]()
        try:
            return function(*args, **options)
        finally:
            self._originals["freeze"]()
            # Garbage that was made meanwhile is hidden too, if it was not just collected.
            self._unseen = function is not self._originals["collect"]

    def _given_up(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Calls a function for somebody who freezes objects, and is not to find ours among theirs."""
        self.show()
        return function(*args, **options)
