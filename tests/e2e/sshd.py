"""An ssh server of the tests' own on this machine, and the way to it; nothing of the user's configuration is read."""

import hashlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from ports import free_ports

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

# What there has to be, by name.
MISSING = [name for name, found in [("sshd", SSHD), ("ssh", shutil.which("ssh")), ("ssh-keygen", shutil.which("ssh-keygen"))] if not found]  # fmt: skip

DEADLINE = 30.0


class Server:
    """A running sshd. Those who log in get `cache` for xdist's cache directory, and nothing is kept elsewhere."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.cache = directory / "cache"
        self._process = None
        for name in ("host", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        shutil.copy(directory / "user.pub", directory / "authorized")
        (self.port,) = free_ports(1)
        self.known("host")
        self.configure()

    def known(self, name: str) -> None:
        """Makes this key the one that clients know."""
        key = " ".join((self.directory / f"{name}.pub").read_text().split()[:2])
        (self.directory / "known").write_text(f"[127.0.0.1]:{self.port} {key}\n")

    def configure(self, *lines: str, key: str = "user") -> None:
        """Writes the clients' configuration, in which this server is called `box`."""
        own = [
            "Host box bystander",
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"IdentityFile {self.directory / key}",
            "IdentitiesOnly yes",
            "IdentityAgent none",
            f"UserKnownHostsFile {self.directory / 'known'}",
            "GlobalKnownHostsFile none",
            "ControlPath none",
        ]
        self.config.write_text("\n".join([*lines, *own]) + "\n")

    @property
    def config(self) -> Path:
        return self.directory / "config"

    def start(self, *lines: str) -> None:
        """Starts it, with further lines of configuration, which come first and so count."""
        own = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.directory / 'host'}",
            f"AuthorizedKeysFile {self.directory / 'authorized'}",
            "PidFile none",
            "UsePAM no",
            # Temporary directories are below one that everybody may write to.
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            f"SetEnv XDIST_CACHE_DIR={self.cache}",
        ]
        config = self.directory / "sshd_config"
        config.write_text("\n".join([*lines, *own]) + "\n")
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        log = open(self.directory / "log", "ab")
        with log:
            self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=log, start_new_session=True)
        self._await(True)
        assert self._process.poll() is None, self._log()

    def _await(self, listens: bool) -> None:
        end = time.monotonic() + DEADLINE
        while True:
            with socket.socket() as client:
                if (client.connect_ex(("127.0.0.1", self.port)) == 0) == listens:
                    return
            is_over = self._process is not None and self._process.poll() is not None
            assert not is_over and time.monotonic() < end, f"sshd does not come up, or go:\n{self._log()}"
            # The system tells nobody that somebody listens.
            os.sched_yield()

    def _log(self) -> str:
        return (self.directory / "log").read_text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
            # A process for a connection that was just made has its socket a moment longer, and the next one needs the port.
            self._await(False)

    def tx(self, *parts: str, count: int = 1, machine: str = "box", python: str = "") -> str:
        """A value of `--tx` that leads here."""
        python = [f"python={python}"] if python else []
        signals = f"env:SIGNALS={self.directory.parent / 'signals'}"
        return "//".join([f"{count}*ssh={machine}", f"ssh_config={self.config}", signals, *python, *parts])

    @property
    def programs(self) -> list[Path]:
        """The copies of the program that were sent."""
        return sorted(self.cache.glob("bin/*/xdist"))

    def place(self, binary: str) -> Path:
        """Where a copy of this program is looked for."""
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        digest = hashlib.blake2b(Path(binary).read_bytes(), digest_size=16).hexdigest()
        return self.cache / "bin" / f"{version}-{digest}" / "xdist"

    @property
    def rest(self) -> list[Path]:
        """What else is left where they are."""
        return sorted(path for path in self.cache.glob("bin/*/.*") if path.is_file())


@pytest.fixture
def box(tmp_path):
    """A machine to log in to."""
    if MISSING:
        pytest.skip(f"not run: no {' and no '.join(MISSING)} on this machine (apt-get install openssh-server)")
    directory = tmp_path / "ssh"
    directory.mkdir()
    server = Server(directory)
    yield server
    server.stop()
