"""Machines in a network of their own: namespaces of this kernel, between which packets are late, lost or stopped.

Every namespace has a TUN device, and a thread here carries packets from one to the other. It needs root and /dev/net/tun; no
scheduler for packets in the kernel has to be there.
"""

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import selectors
import shutil
import socket
import struct
import subprocess
import threading
import time

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_MTU = 1500
_IP_DESTINATION = slice(16, 20)


def missing() -> list[str]:
    """What there would have to be on this machine, by name."""
    needs = {
        "root": os.getuid() == 0,
        "ip (iproute2)": shutil.which("ip"),
        "/dev/net/tun": os.path.exists("/dev/net/tun"),
    }
    return [name for name, is_there in needs.items() if not is_there]


class Network:
    """So many machines, each with an address. All may be changed at any time; a context manager takes them down again."""

    def __init__(self, machines: int, *, delay: float = 0.0, loss: float = 0.0, seed: int = 1):
        #: Seconds that every packet takes, and the share of packets that are lost.
        self.delay = delay
        self.loss = loss
        self._names = [f"xdist-{os.getpid()}-{number}" for number in range(machines)]
        self._random = random.Random(seed)
        self._cut: set[int] = set()
        self._devices: list[int] = []
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> "Network":
        try:
            for number, name in enumerate(self._names):
                _ip("netns", "add", name)
                self._devices.append(_device_in(name))
                for command in (
                    ["link", "set", "lo", "up"],
                    ["link", "set", "eth0", "mtu", str(_MTU), "up"],
                    ["addr", "add", f"{self.address(number)}/24", "dev", "eth0"],
                ):
                    _ip("-n", name, *command)
        except BaseException:
            self._take_down()
            raise
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._wake.send(b"x")
        self._thread.join()
        self._take_down()

    def address(self, machine: int) -> str:
        return f"10.77.0.{machine + 1}"

    def on(self, machine: int, command: list) -> list[str]:
        """The command that runs this one on a machine."""
        return ["ip", "netns", "exec", self._names[machine], *map(str, command)]

    def cut(self, machine: int) -> None:
        """No packet reaches the machine or leaves it any more."""
        self._cut = self._cut | {machine}

    def heal(self, machine: int) -> None:
        self._cut = self._cut - {machine}

    def _take_down(self) -> None:
        for device in self._devices:
            os.close(device)
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)

    def _carry(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._woken, selectors.EVENT_READ)
        for number, device in enumerate(self._devices):
            selector.register(device, selectors.EVENT_READ, number)
        under_way: list[tuple[float, int, int, bytes]] = []
        order = itertools.count()
        while True:
            left = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
            for key, _ in selector.select(left):
                if key.fileobj is self._woken:
                    return
                for packet in _packets(key.fd):
                    target = self._target(packet)
                    if target is not None and not self._is_lost(key.data, target):
                        # All take the same time, so none overtakes another.
                        heapq.heappush(under_way, (time.monotonic() + self.delay, next(order), target, packet))
            now = time.monotonic()
            while under_way and under_way[0][0] <= now:
                *_, target, packet = heapq.heappop(under_way)
                try:
                    os.write(self._devices[target], packet)
                except OSError:
                    # As a network does with what it has no room for.
                    pass

    def _target(self, packet: bytes) -> "int | None":
        if packet[0] >> 4 != 4:
            return None
        number = packet[_IP_DESTINATION][3] - 1
        return number if 0 <= number < len(self._devices) else None

    def _is_lost(self, *ends: int) -> bool:
        return not self._cut.isdisjoint(ends) or self._random.random() < self.loss


def _packets(device: int):
    for _ in range(256):
        try:
            yield os.read(device, 1 << 16)
        except BlockingIOError:
            return


def _device_in(name: str) -> int:
    """A TUN device in a namespace. A thread of its own makes it, as it has to be there for that."""
    made: list[object] = []

    def make() -> None:
        try:
            namespace = os.open(f"/run/netns/{name}", os.O_RDONLY)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            os.close(namespace)
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"eth0", _IFF_TUN | _IFF_NO_PI))
            made.append(device)
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    (device,) = made
    if isinstance(device, OSError):
        raise device
    return device


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
