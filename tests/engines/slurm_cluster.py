"""A Slurm of the tests' own on this machine: two nodes, which are two daemons on loopback. Nothing of a Slurm that may be
installed and running here is touched."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from ports import free_ports

PROGRAMS = ("slurmctld", "slurmd", "munged", "srun", "sbatch", "salloc", "squeue", "scancel", "sinfo")
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

# Why there can be none here, by name.
MISSING = [name for name in PROGRAMS if not shutil.which(name, path=SEARCHED)]
if os.geteuid() != 0:
    MISSING.append("root's rights")

NODES, CPUS = 2, 4
DEADLINE = 60.0

CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={base}/munge.socket
CredType=cred/munge
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool.%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
KillWait=3
MinJobAge=2
ReturnToService=2
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} RealMemory=2000
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} RealMemory=2000
PartitionName=debug Nodes=ALL Default=YES State=UP
"""


class Cluster:
    """A running Slurm; `SLURM_CONF=cluster.configuration` leads programs to it."""

    def __init__(self):
        # Not where pytest keeps its own: munge wants the way to its socket open to all.
        self._base = Path(tempfile.mkdtemp(prefix="xdist-slurm-"))
        self._base.chmod(0o755)
        self._daemons = []
        self.configuration = self._base / "slurm.conf"
        self.env = {**os.environ, "SLURM_CONF": str(self.configuration)}

    def start(self):
        """Comes back when every node can be used."""
        for name in ("state", "spool.node1", "spool.node2"):
            (self._base / name).mkdir()
        key = self._base / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        host = socket.gethostname().partition(".")[0]
        self.configuration.write_text(
            CONFIGURATION.format(host=host, base=self._base, ports=free_ports(1 + NODES), cpus=CPUS)
        )
        self._daemon("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self._base}/munge.socket",
                     f"--log-file={self._base}/munged.log", f"--pid-file={self._base}/munged.pid",
                     f"--seed-file={self._base}/munged.seed")  # fmt: skip
        self._await(lambda: (self._base / "munge.socket").exists())
        self._daemon("slurmctld", "-D", "-c", "-f", self.configuration)
        for node in range(1, NODES + 1):
            self._daemon("slurmd", "-D", "-N", f"node{node}", "-f", self.configuration)
        self._await(lambda: self._ask("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").count("node") == NODES)

    def queue(self, name="xdist"):
        """The states of the jobs of this name: `PENDING`, `RUNNING` and so on."""
        return self._ask("squeue", "-h", "-n", name, "-o", "%T").split()

    def jobs(self, name="xdist"):
        """Their numbers."""
        return self._ask("squeue", "-h", "-n", name, "-o", "%i").split()

    def steps(self, job):
        """The steps of a job, but for Slurm's own."""
        steps = self._ask("squeue", "-h", "-s", "-j", job, "-o", "%i").split()
        return [step for step in steps if step.rpartition(".")[2].isdigit()]

    def show(self, *what):
        """All that Slurm tells of something."""
        return self._ask("scontrol", "show", "--details", *what)

    def await_queue(self, *states, name="xdist"):
        """Waits until the jobs of this name are in these states; without any, until there is none."""
        self._await(lambda: self.queue(name) == list(states), lambda: f"the queue holds {self.queue(name)}")

    def await_steps(self, job):
        """Waits until a job has no steps; srun knows of their ends before all of Slurm does."""
        self._await(lambda: not self.steps(job), lambda: f"steps of {job}: {self.steps(job)}")

    def occupy(self):
        """Has a job of somebody else take all nodes."""
        self._ask("sbatch", "-J", "other", "-N", str(NODES), "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1000")
        self.await_queue("RUNNING", name="other")

    def cancel(self, *what):
        """`scancel`."""
        self._ask("scancel", *what)

    def clear(self):
        """Cancels what there is."""
        self._ask("scancel", "--user", "root", "--signal", "KILL", "--full")
        self._ask("scancel", "--user", "root")
        self._await(lambda: not self._ask("squeue", "-h").strip())

    def _ask(self, *command):
        return subprocess.run(command, env=self.env, text=True, stdout=subprocess.PIPE, timeout=DEADLINE).stdout

    def _daemon(self, name, *args):
        with open(self._base / "daemons.log", "a") as log:
            program = shutil.which(name, path=SEARCHED)
            # A session of their own: the Ctrl-C that ends the tests is not for them, who are needed to clear up.
            self._daemons.append(subprocess.Popen([program, *map(str, args)], env=self.env, stdin=subprocess.DEVNULL,
                                                  stdout=log, stderr=log, start_new_session=True))  # fmt: skip

    def _await(self, condition, words=lambda: ""):
        end = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"{words()}\n{(self._base / 'daemons.log').read_text()[-3000:]}")
            # Nothing tells when; asking takes a while as it is.
            time.sleep(0.02)

    def close(self):
        """Ends it."""
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self._base, ignore_errors=True)
