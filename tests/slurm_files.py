"""The files that a Slurm of one node with stand-in GPUs needs, for :mod:`slurm_cluster`."""

import getpass
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

MUNGE_FILES = {
    "socket": "sock",
    "key-file": "key",
    "log-file": "log",
    "pid-file": "pid",
    "seed-file": "seed",
}

CONFIGURATION = """
ClusterName=labcnn
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/began
TaskEpilog={folder}/ended
JobAcctGatherType=jobacct_gather/linux
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
SlurmdParameters=config_overrides
KillWait=5
ReturnToService=2
MinJobAge=86400
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000 Gres=gpu:2
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

GPUS = "NodeName={host} Name=gpu File={folder}/nvidia[0-1] Flags=nvidia_gpu_env\n"

#: What the task of a job step really has in its environment, at its begin and its end.
RECORD = """#!/bin/sh
[ -n "$SLURM_STEP_ID" ] || exit 0
echo "$SLURM_JOB_ID $(date +%s.%N) ${{CUDA_VISIBLE_DEVICES-none}}" >> "{folder}/{name}.txt"
"""

# Inside a job Snakemake's plug-in drops SLURM_CONF, and srun would look in /etc.
SRUN = """#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


def host_name() -> str:
    return socket.gethostname().partition(".")[0]


def write_files(folder: Path, srun: str) -> None:
    """Write all files that the daemons need; ``srun`` is the path of that program."""
    folder.chmod(0o755)  # munge refuses a socket that others couldn't reach
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    for index in range(2):
        (folder / f"nvidia{index}").symlink_to("/dev/null")
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    with ExitStack() as held:
        ports = [held.enter_context(free_port()) for _ in range(2)]
    values = {"folder": folder, "host": host_name(), "user": getpass.getuser()}
    configuration = CONFIGURATION.format(controller_port=ports[0], node_port=ports[1], **values)
    (folder / "slurm.conf").write_text(configuration, encoding="utf-8")
    (folder / "gres.conf").write_text(GPUS.format(**values), encoding="utf-8")
    scripts = {name: RECORD.format(folder=folder, name=name) for name in ("began", "ended")}
    scripts["bin/srun"] = SRUN.format(folder=folder, srun=srun)
    for name, text in scripts.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)


@contextmanager
def free_port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        yield listening.getsockname()[1]
