"""What finalizers have to say when garbage is looked for between tests, where nobody listens: kept for the next test."""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class FinalizerReports:
    """Warnings and exceptions of finalizers."""

    def __init__(self) -> None:
        self._warnings: list[warnings.WarningMessage] = []
        self._unraisable: list[Any] = []

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps what is said meanwhile."""
        hook = sys.unraisablehook
        sys.unraisablehook = self._unraisable.append
        try:
            with warnings.catch_warnings(record=True) as recorded:
                # Which of them are shown, and which are errors, is for the test to say.
                warnings.simplefilter("always")
                yield
            self._warnings += recorded or []
        finally:
            sys.unraisablehook = hook

    def tell(self) -> None:
        """Says it again. To be called where pytest listens, as if garbage were looked for just now.

        Raises the first warning that is an error there; the others are kept.
        """
        while self._unraisable:
            sys.unraisablehook(self._unraisable.pop(0))
        while self._warnings:
            each = self._warnings.pop(0)
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno, source=each.source)
