"""Stand-ins for the objects of pytest-xdist and execnet that plugins and conftests get to see on the controller's side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from .bridge import Bridge


class Spec:
    """An execution environment (execnet's `XSpec`): every key of its text is an attribute; those that are not there are
    `None`."""

    def __init__(self, text: str, identity: Optional[str] = None) -> None:
        self._spec = text
        self.env: dict[str, str] = {}
        for part in text.split("//"):
            key, separator, value = part.partition("=")
            if key.startswith("env:"):
                self.env[key[4:]] = value
            elif key:
                setattr(self, key, value if separator else True)
        if identity is not None:
            self.id = identity

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return None

    def __str__(self) -> str:
        return self._spec

    def __repr__(self) -> str:
        return f"<XSpec {self._spec!r}>"

    def __eq__(self, other: object) -> bool:
        return self._spec == getattr(other, "_spec", None)

    def __hash__(self) -> int:
        return hash(self._spec)


class InterpreterInfo:
    """Facts about a worker's interpreter (what execnet's `gateway._rinfo()` gives)."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.__dict__.update(fields)


class Gateway:
    """A worker's interpreter, as far as plugins look at it."""

    def __init__(self, identity: str, spec: Spec) -> None:
        self.id = identity
        self.spec = spec
        self._facts: dict[str, Any] = {}

    def _rinfo(self, update: bool = False) -> InterpreterInfo:
        return InterpreterInfo(self._facts)

    def __repr__(self) -> str:
        return f"<Gateway id={self.id!r}>"


class NodeManager:
    """What plugins look at of pytest-xdist's `NodeManager`."""

    def __init__(self, config: pytest.Config, run_id: str) -> None:
        self.config = config
        self.testrunuid = run_id
        self.specs: list[Spec] = []
        #: Directories that are copied to other machines.
        self.roots: list[Any] = []


class Node:
    """A worker (pytest-xdist's `WorkerController`)."""

    def __init__(
        self, number: int, gateway: Gateway, config: pytest.Config, manager: NodeManager, workerinput: dict[str, Any]
    ) -> None:
        #: Its number on the wire.
        self.number = number
        #: What carries out what a scheduler wants of it, if one decides here.
        self.bridge: Optional[Bridge] = None
        self.gateway = gateway
        self.config = config
        self.nodemanager = manager
        self.workerinput = workerinput
        # There is a `workeroutput` once the worker has sent it, and only then.
        self.workerinfo: dict[str, Any] = {}
        #: What the user calls the machine, if it is another one and the worker has come up, and the line for it.
        self.machine = self.platform_line = ""
        self.shutting_down = False
        #: Whether it has come up.
        self.is_ready = False
        #: Whether its end has been told.
        self.is_down = False

    def set_output(self, values: dict[str, Any]) -> None:
        """Takes over `config.workeroutput` of the worker."""
        self.workeroutput = values

    @property
    def described(self) -> str:
        """What it is called, with the machine where that is another one."""
        return f"{self.gateway.id} (on {self.machine})" if self.machine else str(self.gateway.id)

    @property
    def pid(self) -> Optional[int]:
        """The process, once it is known."""
        pid: Optional[int] = self.gateway._facts.get("pid")
        return pid

    def set_ready(self, ready: dict[str, Any]) -> None:
        """Takes over what the worker told of itself."""
        self.is_ready = True
        python = [*ready.get("python", [])]
        version_info = (*python, "final", 0)
        facts = {
            "version_info": version_info,
            "platform": ready.get("platform", ""),
            "executable": ready.get("executable", ""),
            "cwd": ready.get("cwd", ""),
        }
        self.workerinfo = {
            **facts,
            "id": self.gateway.id,
            "spec": self.gateway.spec,
            "version": ready.get("python_text", ""),
            "sysplatform": ready.get("platform", ""),
        }
        self.gateway._facts = {**facts, "pid": ready.get("pid")}
        self.machine = ready.get("machine") or ""
        if self.machine:
            # The line that pytest heads failures with; it would make one that does not name the machine.
            version = ".".join(map(str, python[:3]))
            self._workerinfocache = self.platform_line = (
                f"[{self.gateway.id}] {facts['platform']} -- Python {version} {facts['executable']} (on {self.machine})"
            )

    def send_runtest_some(self, indices: Iterable[int]) -> None:
        """Gives the worker tests; for schedulers."""
        if self.bridge is not None:
            self.bridge.run(self, indices)

    def send_runtest_all(self) -> None:
        """Gives the worker all tests; for schedulers."""
        if self.bridge is not None:
            self.bridge.run_all(self)

    def send_steal(self, indices: Iterable[int]) -> None:
        """Asks the worker for tests; for schedulers."""
        if self.bridge is not None:
            self.bridge.steal(self, indices)

    def shutdown(self) -> None:
        """Has the worker end after what it has; for schedulers."""
        if self.bridge is not None:
            self.bridge.shut_down(self)

    def __repr__(self) -> str:
        return f"<WorkerController {self.gateway.id}>"
