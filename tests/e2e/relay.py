"""A way between two programs that can be cut, healed and watched."""

import selectors
import socket
import threading


class Relay:
    """Listens at `port` on this machine and passes on to another port, as long as it is not cut.

    A connection that is there when it is cut does not end: nothing passes any more, as if the network were gone. When it is
    healed, those connections are broken off, and new ones pass.
    """

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.target = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._orders: list[str] = []
        self._cut = False
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        self._order("cut")

    def heal(self) -> None:
        self._order("heal")

    def close(self) -> None:
        self._order("close")
        self._thread.join()

    def _order(self, order: str) -> None:
        self._orders.append(order)
        self._wake.send(b"x")

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    self._woken.recv(100)
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.fileobj)
            while self._orders:
                order = self._orders.pop(0)
                self._cut = order == "cut"
                if order != "cut":
                    for end in list(self._pairs):
                        self._drop(end)
                if order == "close":
                    self._listener.close()
                    return

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self._cut:
            near.close()
            return
        far = socket.create_connection(("127.0.0.1", self.target))
        self.connections += 1
        for one, other in ((near, far), (far, near)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        if self._cut:
            self._selector.unregister(end)
            return
        if end not in self._pairs:
            return
        try:
            data = end.recv(1 << 16)
            if data:
                self._pairs[end].sendall(data)
                return
        except OSError:
            pass
        self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        other = self._pairs.pop(end, None)
        if other is None:
            return
        self._pairs.pop(other, None)
        for each in (end, other):
            try:
                self._selector.unregister(each)
            except KeyError:
                pass
            each.close()
