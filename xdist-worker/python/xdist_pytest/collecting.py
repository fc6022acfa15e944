"""Shortcuts of collection, for which all workers wait that are forked after it.

pytest makes a `FunctionDefinition` of every test function, asks plugins what to parametrize it with, and makes a
`Function` for each set of parameters. Where there are none, that is the same node once more. And what arguments a function
has is found out by `inspect`, which is prepared for far more than plain functions.
"""

from __future__ import annotations

import contextlib
import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

import _pytest.compat
import _pytest.python
import pytest
from _pytest.python import Function

from .shortcuts import hooks_known

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from _pytest.python import FunctionDefinition

#: Whose parametrization leaves a definition as it was.
_READERS = ("_pytest.python", "_pytest.fixtures")
_UNUSUAL_ARGUMENTS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_NO_DEFAULT = inspect.Parameter.empty
#: Others have it do more.
_INITIALIZE = Function.__init__


class CollectionShortcuts:
    """The plugin that takes them."""

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, None, None]:
        """Takes them for as long as tests are collected."""
        with hooks_known(session), _Definitions().become_functions(), _signatures_read():
            yield


class _Definitions:
    """What is known of the function that is being collected."""

    def __init__(self) -> None:
        #: Its definition, if nobody but pytest sees that.
        self._definition: Optional[FunctionDefinition] = None
        #: The last collector, and whether definitions are pytest's alone there.
        self._parent: object = None
        self._is_private = False

    @contextlib.contextmanager
    def become_functions(self) -> Iterator[None]:
        """Has a function without parameters made of its definition."""
        original = vars(Function).get("from_parent")
        definitions = getattr(_pytest.python, "FunctionDefinition", None)
        if not isinstance(original, classmethod) or definitions is None or "from_parent" in vars(definitions):
            # Not as we know it.
            yield
            return
        make: Callable[..., Any] = original.__func__

        def from_parent(cls: type[Function], parent: Any, **fields: Any) -> Any:
            definition, self._definition = self._definition, None
            if definition is not None and cls is Function and _is_defined_by(definition, parent, fields):
                return _made_of(definition)
            node = make(cls, parent, **fields)
            if cls is definitions and self._is_private_in(parent):
                self._definition = node
            return node

        Function.from_parent = classmethod(from_parent)  # type: ignore[assignment]
        try:
            yield
        finally:
            Function.from_parent = original  # type: ignore[method-assign]

    def _is_private_in(self, parent: Any) -> bool:
        """Whether nobody else parametrizes there."""
        if parent is not self._parent:
            self._parent = parent
            hooks = parent.ihook.pytest_generate_tests.get_hookimpls()
            self._is_private = all(hook.function.__module__ in _READERS for hook in hooks) and not any(
                hasattr(node.obj, "pytest_generate_tests")
                for node in (parent.getparent(pytest.Module), parent.getparent(pytest.Class))
                if node is not None
            )
        return self._is_private


def _is_defined_by(definition: FunctionDefinition, parent: Any, fields: dict[str, Any]) -> bool:
    """Whether this would be the same node."""
    if (
        Function.__init__ is not _INITIALIZE
        or len(fields) != 2
        or fields.get("fixtureinfo") is not definition._fixtureinfo
        or fields.get("name") != definition.name
        or parent is not definition.parent
    ):
        return False
    function = definition.obj
    return type(function) is FunctionType and _found_as(definition.name, parent.obj) is function


def _found_as(name: str, holder: Any) -> object:
    """What a module or class has by this name, before it is bound to anything."""
    for each in holder.__mro__ if isinstance(holder, type) else (holder,):
        if name in each.__dict__:
            return each.__dict__[name]
    return None


def _made_of(definition: FunctionDefinition) -> Function:
    """Turns a definition into the function. There is nothing else that the two differ in."""
    # What is called is a class's method, and bound to an instance.
    del definition._obj
    vars(definition).pop("_instance", None)
    definition.__class__ = Function
    function: Any = definition
    # As pytest does, which has an instance made for it.
    _ = function.obj
    return definition


class _Parameter(NamedTuple):
    """What pytest asks of an `inspect.Parameter`."""

    name: str
    kind: Any
    default: object


class _Signature(NamedTuple):
    """What pytest asks of an `inspect.Signature`."""

    parameters: dict[str, _Parameter]


_WITHOUT_ARGUMENTS = _Signature({})


@contextlib.contextmanager
def _signatures_read() -> Iterator[None]:
    """Has the arguments of plain functions read from their code."""
    inspected: Any = getattr(_pytest.compat, "signature", None)
    if inspected is None:
        yield
        return

    def signature(function: Any) -> Any:
        return _read_signature(function) or inspected(function)

    _pytest.compat.signature = signature
    try:
        yield
    finally:
        _pytest.compat.signature = inspected


def _read_signature(function: Any) -> Optional[_Signature]:
    """The signature of a plain function."""
    # Decorators leave attributes behind.
    if type(function) is not FunctionType or (function.__dict__ and function.__dict__.keys() != {"pytestmark"}):
        return None
    code = function.__code__
    if code.co_flags & _UNUSUAL_ARGUMENTS or code.co_posonlyargcount:
        return None
    positional = code.co_argcount
    names = code.co_varnames[: positional + code.co_kwonlyargcount]
    if not names:
        return _WITHOUT_ARGUMENTS
    given = function.__defaults__ or ()
    defaults = dict(zip(names[positional - len(given) : positional], given), **(function.__kwdefaults__ or {}))
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return _Signature(
        {
            name: _Parameter(name, kinds[position >= positional], defaults.get(name, _NO_DEFAULT))
            for position, name in enumerate(names)
        }
    )
