"""What plugins see of workers on the controller's side."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.reports import getworkerinfoline
from xdist_pytest.nodes import Gateway, Node, NodeManager, Spec


@pytest.fixture
def node() -> Node:
    config: Any = SimpleNamespace()
    return Node(0, Gateway("gw0", Spec("popen", "gw0")), config, NodeManager(config, "cafe"), {"workerid": "gw0"})


def test_every_key_of_a_specification_is_an_attribute() -> None:
    spec: Any = Spec("ssh=user@host//python=python3.12//chdir=work//env:NAME=a=b//dont_write_bytecode", "gw5")
    assert (spec.ssh, spec.python, spec.chdir, spec.id) == ("user@host", "python3.12", "work", "gw5")
    assert spec.dont_write_bytecode is True
    assert spec.env == {"NAME": "a=b"}


def test_what_a_specification_does_not_have_is_none() -> None:
    spec: Any = Spec("popen")
    assert spec.popen is True
    assert spec.id is None and spec.ssh is None and spec.anything_else is None
    with pytest.raises(AttributeError):
        _ = spec._private


def test_specifications_are_values() -> None:
    assert Spec("popen") == Spec("popen", "gw0") != Spec("popen//id=x")
    assert len({Spec("popen"), Spec("popen")}) == 1
    assert str(Spec("popen//id=x")) == "popen//id=x"
    assert repr(Spec("popen")) == "<XSpec 'popen'>"
    # Neither way asks for attributes that are not there in vain.
    assert copy.copy(Spec("popen//id=x")).id == "x"
    assert pickle.loads(pickle.dumps(Spec("popen//id=x"))).id == "x"


def test_a_node_knows_its_interpreter_once_it_is_ready(node: Node) -> None:
    assert node.workerinfo == {} and not node.is_ready
    node.set_ready(
        {"python": [3, 11, 7], "python_text": "3.11.7 (main)", "platform": "linux", "executable": "/usr/bin/python3",
         "cwd": "/suite", "pid": 17}
    )  # fmt: skip
    assert node.is_ready
    assert node.workerinfo["version_info"][:3] == (3, 11, 7)
    assert node.workerinfo["sysplatform"] == "linux"
    assert node.workerinfo["version"] == "3.11.7 (main)"
    assert node.workerinfo["id"] == "gw0" and node.workerinfo["spec"] == Spec("popen")
    info: Any = node.gateway._rinfo()
    assert (info.executable, info.cwd, info.pid, info.platform) == ("/usr/bin/python3", "/suite", 17, "linux")


def test_failures_elsewhere_are_headed_by_the_machine_too() -> None:
    config: Any = SimpleNamespace()
    spec = Spec("ssh=-p 22 me@box//python=py", "gw1")
    node: Any = Node(1, Gateway("gw1", spec), config, NodeManager(config, "cafe"), {"workerid": "gw1"})
    ready = {"python": [3, 11, 7], "platform": "linux", "executable": "/usr/bin/python3", "machine": "box"}
    assert node.described == "gw1"
    node.set_ready(ready)
    assert getworkerinfoline(node) == "[gw1] linux -- Python 3.11.7 /usr/bin/python3 (on box)"
    assert node.described == "gw1 (on box)"


def test_there_is_an_output_only_when_the_worker_has_sent_it(node: Node) -> None:
    assert not hasattr(node, "workeroutput")
    node.set_output({"key": 1})
    assert node.workeroutput == {"key": 1}


def test_names_in_messages(node: Node) -> None:
    assert repr(node.gateway) == "<Gateway id='gw0'>"
    assert "gw0" in repr(node)
