"""What the host wants next."""

from __future__ import annotations

from typing import Callable, Optional

from .channel import COLLECT, DRAIN, INTERRUPT, PARK, PROCEED, SEND_COLLECTION, Command, Commands, Item, Status


class ItemQueue:
    """The host's commands in the order of their arrival, each read when it is needed and not before."""

    def __init__(self, commands: Commands, status: Status, send_collection: Callable[[], None]) -> None:
        #: Whether the session is to end; nothing more is read then.
        self.ended = False
        #: Whether it is to end because of an interrupt.
        self.interrupted = False
        self._commands = commands
        self._status = status
        self._send_collection = send_collection
        self._successor: Optional[Item] = None
        self._collect_came = False

    def wait_to_proceed(self) -> bool:
        """Waits until the session may go on; answers whether it may."""
        while not self.ended:
            command = self._read()
            if command == PROCEED:
                return True
            # It does not wait for what this waits for.
            self._collect_came = self._collect_came or command == COLLECT
        return False

    def wait_for_collect(self) -> bool:
        """Waits for the command to collect; answers whether it came."""
        while not self.ended and not self._collect_came:
            self._collect_came = self._read() == COLLECT
        came, self._collect_came = self._collect_came, False
        return came and not self.ended

    def wait_for_end(self) -> None:
        """Waits until the session is to end."""
        while not self.ended:
            self._read()

    def next(self) -> Optional[Item]:
        """The item to run now; waits for it. `None` at the end."""
        item, self._successor = self._successor, None
        while item is None and not self.ended:
            command = self._read()
            item = command if isinstance(command, Item) else None
        return item

    def successor(self) -> Optional[Item]:
        """The item after the running one; waits until it is known. `None` if there is none, or none for now."""
        while self._successor is None and not self.ended:
            command = self._commands.receive_now()
            if command is None:
                command = self._status.wait(self._commands.receive)
            self._heed(command)
            if isinstance(command, Item):
                self._successor = command
            elif command == PARK:
                break
        return self._successor

    def has_item_waiting(self) -> bool:
        """Whether no other command than one to run an item is there to be read."""
        command = self._commands.peek()
        return command is None or isinstance(command, Item)

    def is_interrupted(self) -> bool:
        """Whether the host has announced an interrupt, as far as that can be told without reading an item."""
        while not self.ended:
            command = self._commands.peek()
            if command is None or isinstance(command, Item):
                break
            self._read()
        return self.interrupted

    def _read(self) -> Command:
        command = self._commands.receive()
        self._heed(command)
        return command

    def _heed(self, command: Command) -> None:
        if command == SEND_COLLECTION:
            self._send_collection()
        elif command in (DRAIN, INTERRUPT):
            self.ended = True
            self.interrupted = command == INTERRUPT
