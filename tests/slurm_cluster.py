"""A Slurm of one node on the loopback interface, in a temporary folder, as any user.

Slurm and munge from Debian's packages: slurmctld, slurmd, slurm-client and munge. The node claims
two cores and two GPUs. Nothing outside the temporary folder is written or read, so that a real
Slurm on the machine isn't touched.
"""

import getpass
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from slurm_files import MUNGE_FILES, host_name, write_files
from waiting import wait_for

PROGRAMS = (
    "munged", "slurmctld", "slurmd",
    "sbatch", "srun", "scancel", "squeue", "scontrol", "sinfo",
)  # fmt: skip
START_SECONDS = 60
STOP_SECONDS = 20


@dataclass(frozen=True)
class Job:
    """A job as ``squeue`` shows it."""

    number: int
    state: str
    resources: str
    comment: str


@dataclass(frozen=True)
class Step:
    """When a job's task ran and the value of its CUDA_VISIBLE_DEVICES."""

    job: int
    device: str
    began: float
    ended: float

    def overlaps(self, other: "Step") -> bool:
        return self.began < other.ended and other.began < self.ended


@dataclass(frozen=True)
class Cluster:
    """A running Slurm; ``environment`` is what a program needs to use it."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *command: str) -> str:
        """What a client command prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, encoding="utf-8", timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}")
        return done.stdout

    def node_state(self) -> str:
        """``idle``, ``mixed``, ``allocated``, or empty while the controller doesn't answer."""
        try:
            return self.run("sinfo", "--noheader", "--format=%T").strip()
        except RuntimeError:
            return ""

    def jobs(self) -> list[Job]:
        """All jobs since the start, finished ones included, in the order of their submission."""
        lines = self.run("squeue", "--states=all", "--noheader", "--format=%i|%T|%b|%k").split("\n")
        parts = [line.strip().split("|", 3) for line in lines if line]
        return sorted((Job(int(n), *rest) for n, *rest in parts), key=lambda job: job.number)

    def granted(self, job: int) -> str:
        """The index of the GPU that the controller gave to a running job."""
        shown = self.run("scontrol", "show", "job", "-d", str(job))
        return shown.partition("(IDX:")[2].partition(")")[0]

    def steps(self) -> list[Step]:
        """The tasks that have begun; those still running end at infinity."""
        ends = {job: when for job, when, _ in self._recorded("ended")}
        return [
            Step(job, device, when, ends.get(job, float("inf")))
            for job, when, device in self._recorded("began")
        ]

    def _recorded(self, name: str) -> list[tuple[int, float, str]]:
        file = self.folder / f"{name}.txt"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        parts = [line.split(maxsplit=2) for line in lines]
        return [(int(job), float(when), device) for job, when, device in parts]

    def processes(self) -> list[psutil.Process]:
        """What runs in this cluster: each process inherits the name of its configuration."""
        found = []
        for process in psutil.process_iter():
            try:
                configuration = process.environ().get("SLURM_CONF")
            except psutil.Error:
                continue
            if configuration == self.environment["SLURM_CONF"] and process.pid != os.getpid():
                found.append(process)
        return found


@contextmanager
def slurm_cluster(program: Callable[[str], str]) -> Iterator[Cluster]:
    """Start a cluster, and end it with all that runs in it.

    Parameters
    ----------
    program
        Gives the path of a program, or ends the test when it isn't installed.
    """
    paths = {name: program(name) for name in PROGRAMS}
    # A short path: the system's limit for that of a socket is about 100 characters.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as running:
        folder = Path(name)
        write_files(folder, paths["srun"])
        search = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        own = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": search}
        cluster = Cluster(folder, {**os.environ, **own})
        munge = [f"--{kind}={name}/munge.{end}" for kind, end in MUNGE_FILES.items()]
        running.callback(kill_rest, cluster)
        for command in (
            [paths["munged"], "--foreground", *munge],
            [paths["slurmctld"], "-D"],
            [paths["slurmd"], "-D", "-N", host_name()],
        ):
            running.enter_context(daemon(command, cluster))
        wait_for("the node is idle", lambda: cluster.node_state() == "idle", START_SECONDS)
        running.callback(cancel_jobs, cluster)
        yield cluster


@contextmanager
def daemon(command: list[str], cluster: Cluster) -> Iterator[None]:
    """A program that runs as long as the block."""
    printed = cluster.folder / f"{Path(command[0]).name}.txt"
    with printed.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            env=cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the test, and that the daemon
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cancel_jobs(cluster: Cluster) -> None:
    cluster.run("scancel", "--user", getpass.getuser())
    wait_for("no job is left", lambda: not cluster.run("squeue", "--noheader"), STOP_SECONDS)


def kill_rest(cluster: Cluster) -> None:
    """End what a daemon left, such as the step of a job that couldn't be cancelled."""
    left = cluster.processes()
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=STOP_SECONDS)
