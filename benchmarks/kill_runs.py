"""Kill training runs at hundreds of moments; each must end with the bits of one left alone.

    python benchmarks/kill_runs.py --kills 300        # about three minutes, kill_runs.json
    python benchmarks/kill_runs.py --papermill 6      # the notebook and its kernel, two minutes

Children forked from one process that has torch already train tiny runs by the real ``fit``. Each is
ended by SIGKILL, after a drawn time or inside a drawn write, and started again with the same
request until it is finished. Then history, gradients, predictions and weights are compared.
POSIX only, as SIGKILL is.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a fork keeps no threads

import pandas as pd
import psutil  # type: ignore[import-untyped]
import torch
from safetensors.torch import load_file
from small_data import small_data

from labcnn.data.splits import ImageData
from labcnn.errors import RunError
from labcnn.files import TEMPORARY, project_root, write_text
from labcnn.request import RunRequest
from labcnn.runs import CHECKPOINT, EXPERIMENT, HISTORY, MODEL, PREDICTIONS, RESULT, RunFolder
from labcnn.training import checkpoint
from labcnn.training.hardware import Code, inspect_code
from labcnn.training.trainer import fit

RECORD = Path(__file__).with_suffix(".json")
TIMES = ["seconds", "images_per_second"]
TINY = {"dataset": "shapes", "width": 4, "epochs": 3, "batch_size": 24, "threads": 1}
#: Everything that has a state of its own: optimisers, schedules, random masks, running means, and
#: early stopping (of a run that stands still).
CASES: tuple[dict[str, Any], ...] = (
    {"variant": "short_all", "decay": "one_cycle", "augment": True},
    {"variant": "short_dropout", "seed": 1, "momentum": 0.5},
    {"variant": "short_all", "seed": 2, "decay_patience": 1, "weight_decay": 0.01},
    {"variant": "short_all", "seed": 3, "protocol": "tuned", "learning_rate": 0.1,
     "dropout_rate": 0.2},
    {"variant": "short_baseline", "seed": 4, "augment": True, "precision": "fp32"},
    {"variant": "short_residual", "seed": 5, "label_smoothing": 0.1, "patience": 1},
    {"variant": "short_norm", "seed": 6, "overwrite": True},
    {"variant": "short_baseline", "seed": 7, "learning_rate": 1e-30, "epochs": 9, "patience": 5},
)  # fmt: skip
WRITTEN = (CHECKPOINT, CHECKPOINT, CHECKPOINT, HISTORY, PREDICTIONS, RESULT, EXPERIMENT)
STAGES = ("half of its bytes", "before fsync", "before the rename", "after the rename")
#: A run that overwrites another: the old folder is removed, then the new one gets its name.
FOLDER = "the run's folder"
RENAMES = ("before the new one's rename", "after the new one's rename")


class Blow(NamedTuple):
    """How a child is to die: after ``seconds``, or in the ``nth``-th write of ``file``.

    Of :data:`FOLDER`, ``stage`` is one of :data:`RENAMES`.
    """

    seconds: float = 0.0
    file: str = ""
    stage: str = ""
    nth: int = 1


class Outcome(NamedTuple):
    """One run: where it was killed, each time, and what differs from the run left alone."""

    killed: list[str]
    differences: list[str]


def train(request: RunRequest, data: ImageData, blow: Blow | None) -> None:
    """What a child does: the real ``fit``, with a checkpoint after each step."""
    checkpoint.SECONDS_BETWEEN = 0
    if blow and blow.file:
        die_in_a_write(blow)
    fit(request, data)


def die_in_a_write(blow: Blow) -> None:
    """Patch what a file is written by, so that this process kills itself there."""
    left = [blow.nth]
    opening, syncing, renaming = Path.open, os.fsync, Path.replace
    current: list[Path] = []

    def now(path: Path, stage: str) -> bool:
        if stage != blow.stage or not path.name.startswith(f"{TEMPORARY}{blow.file}."):
            return False
        left[0] -= 1
        return left[0] == 0

    def die() -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def open_(self: Path, *arguments: Any, **named: Any) -> Any:
        current[:] = [self]
        return opening(self, *arguments, **named)

    def fsync(handle: int) -> None:
        if now(current[0], "half of its bytes"):
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            die()
        if now(current[0], "before fsync"):
            die()
        syncing(handle)

    def replace(self: Path, target: Path) -> Path:
        new = self.name.endswith(".new")
        if now(self, "before the rename") or (new and blow.stage == RENAMES[0]):
            die()
        last = now(self, "after the rename")
        result = renaming(self, target)
        if last or (new and blow.stage == RENAMES[1]):
            die()
        return result

    Path.open, os.fsync, Path.replace = open_, fsync, replace  # type: ignore[assignment, method-assign]


def in_a_child(work: Callable[[], None], log: Path, seconds: float = 0.0) -> int:
    """Do ``work`` in a fork; its exit code, or minus the signal that ended it.

    With ``seconds``, it is killed after that time if it still runs.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with log.open("a", encoding="utf-8") as file, redirect_stdout(file):
                try:
                    work()
                    code = 0
                except BaseException:
                    traceback.print_exc(file=file)
        finally:
            os._exit(code)
    if seconds:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # not waited for yet, so its number is still its own
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def drawn(draw: random.Random, life: float, overwrites: bool) -> Blow:
    """The way a child is to die: every other time in the middle of a write."""
    if draw.random() < 0.5:
        return Blow(seconds=draw.uniform(0.01, 0.7) * life)
    if overwrites and draw.random() < 0.3:
        return Blow(file=FOLDER, stage=draw.choice(RENAMES))
    file = draw.choice(WRITTEN)
    most = {CHECKPOINT: 20, HISTORY: 3}.get(file, 1)
    return Blow(file=file, stage=draw.choice(STAGES), nth=draw.randint(1, most))


def place(folder: RunFolder) -> str:
    """Where a run goes on, by what it left; with a checkpoint a step, where it was killed."""
    path = folder.path / CHECKPOINT
    if folder.finished:
        return "after result.json"
    if not path.exists():
        return "before the first checkpoint"
    state = checkpoint.read(path)["state"]
    return "within an epoch" if state["totals"]["steps"] else "between epochs"


def contents(folder: RunFolder) -> dict[str, Any]:
    """What mustn't change by an interruption, by name."""
    history = pd.read_csv(folder.path / HISTORY, dtype=str).drop(columns=TIMES)
    arrays = {name: (a.dtype.str, a.tobytes()) for name, a in folder.predictions().items()}
    result = json.loads(folder.result().model_dump_json())
    return {
        "history": history.to_csv(),
        "gradients": (folder.path / "gradients.csv").read_bytes(),
        "result": {name: result[name] for name in ("status", "train", "val", "test", "best_epoch")},
        "weights": {
            name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
            for name, tensor in load_file(folder.path / MODEL).items()
        },
        **arrays,
    }


def leftovers(logs: Path) -> list[str]:
    """What should be gone when all runs below ``logs`` are finished."""
    names = (f"{TEMPORARY}*", f"{CHECKPOINT}*", ".*.new")
    return [str(p.relative_to(logs)) for name in names for p in sorted(logs.rglob(name))]


def compared(whole: dict[str, Any], cut: dict[str, Any]) -> list[str]:
    """The names of what differs."""
    return [name for name in {**whole, **cut} if whole.get(name) != cut.get(name)]


class Victim:
    """One case: trained once in peace, then as often as you like under blows."""

    def __init__(self, case: dict[str, Any], data: ImageData, root: Path) -> None:
        self.case, self.data, self.root = case, data, root
        request, log = self._places("whole")
        first = time.perf_counter()
        if code := in_a_child(lambda: train(request, data, None), log):
            raise RunError(f"{case}: ended with {code}: {log.read_text(encoding='utf-8')}")
        self.life = time.perf_counter() - first
        self.whole = contents(request.folder)

    def _places(self, name: str) -> tuple[RunRequest, Path]:
        folder = self.root / name
        folder.mkdir(parents=True)
        request = RunRequest.from_parameters(
            TINY | self.case | {"experiment": "killed", "logs": str(folder / "logs")}
        )
        return request, folder / "log"

    def suffer(self, blows: Iterator[Blow], name: str) -> Outcome:
        """Start a run again until it ends; without a blow left, it is left alone."""
        request, log = self._places(name)
        if request.overwrite:  # something to overwrite
            shutil.copytree(self.root / "whole" / "logs", request.folder.path.parents[2])
        killed: list[str] = []
        lost: list[str] = []
        code = -signal.SIGKILL
        while code == -signal.SIGKILL:
            blow = next(blows, None)
            code = in_a_child(
                lambda blow=blow: train(request, self.data, blow),  # type: ignore[misc]
                log,
                blow.seconds if blow else 0,
            )
            if code == -signal.SIGKILL and blow:
                new = RunFolder(request.folder.path.with_name(f".{request.folder.path.name}.new"))
                at = place(new if request.overwrite and new.path.exists() else request.folder)
                killed.append(f"{blow.file}: {blow.stage}" if blow.file else at)
                beside = request.folder.path.parent.iterdir() if request.overwrite else ()
                if request.overwrite and not any(RunFolder(path).finished for path in beside):
                    lost.append("the overwritten run was lost before the new one was whole")
        if code:
            raise RunError(f"{self.case}: ended with {code}: {log.read_text(encoding='utf-8')}")
        differences = lost + compared(self.whole, contents(request.folder))
        differences += [f"left behind: {found}" for found in leftovers(self.root / name / "logs")]
        if not differences:
            shutil.rmtree(self.root / name)
        return Outcome(killed, differences)


def warm_up(data: ImageData, logs: Path) -> None:
    """Train once here: what torch and others import on the way, no child has to (2 s each)."""
    case = TINY | CASES[0] | {"epochs": 1, "logs": str(logs)}
    fit(RunRequest.from_parameters(case), data)


def torment(kills: int, root: Path, seed: int, each: int) -> list[Outcome]:
    """Runs of all cases in turn, at most ``each`` kills of one, until there were ``kills``."""
    data, draw, outcomes = small_data(noise=50), random.Random(seed), list[Outcome]()
    warm_up(data, root / "warm")
    victims: dict[int, Victim] = {}
    left = kills
    while left > 0:
        number, case = len(outcomes), len(outcomes) % len(CASES)
        if case not in victims:
            victims[case] = Victim(CASES[case], data, root / f"case{case}")
        victim = victims[case]
        overwrites = CASES[case].get("overwrite", False)
        blows = [drawn(draw, victim.life, overwrites) for _ in range(min(each, left))]
        outcomes.append(victim.suffer(iter(blows), f"run{number}"))
        left -= len(outcomes[-1].killed)
        print(
            f"{kills - left:4d} kills, {number + 1} runs: {outcomes[-1].differences or 'the same'}"
        )
    return outcomes


def notebook_run(logs: Path, executed: Path) -> subprocess.Popen[str]:
    """Start the training notebook as the sweep does."""
    parameters = {
        "variant": "short_all", "dataset": "shapes", "fraction": 0.04, "epochs": 10, "width": 4,
        "threads": 1, "augment": True, "experiment": "killed", "logs": str(logs),
    }  # fmt: skip
    notebook = project_root() / "notebooks" / "train.ipynb"
    return subprocess.Popen(
        [sys.executable, "-m", "labsweep.execute", notebook, executed, json.dumps(parameters)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def torment_notebooks(kills: int, root: Path, seed: int, each: int) -> list[Outcome]:
    """Kill papermill, its kernel, or both: at most ``each`` times a run, ``kills`` times in all."""
    draw, outcomes = random.Random(seed), list[Outcome]()
    run = notebook_run(root / "whole", root / "whole.ipynb")
    if run.wait():
        raise RunError(f"the notebook failed: {run.communicate()[1]}")
    whole = contents(RunFolder(root / "whole/killed/short_all/seed0"))
    while (left := kills - sum(len(outcome.killed) for outcome in outcomes)) > 0:
        logs = root / f"run{len(outcomes)}"
        cut = RunFolder(logs / "killed/short_all/seed0")
        killed: list[str] = []
        while not cut.finished:
            if at := attempt(logs, cut, draw if len(killed) < min(each, left) else None):
                killed.append(at)
        differences = compared(whole, contents(cut))
        differences += [f"left behind: {found}" for found in leftovers(logs)]
        outcomes.append(Outcome(killed, differences))
        print(f"{kills - left + len(killed)} kills: {differences or 'the same'}")
    return outcomes


def attempt(logs: Path, cut: RunFolder, draw: random.Random | None) -> str | None:
    """Start the notebook and, with ``draw``, kill it after an epoch or earlier; what was killed.

    An orphaned kernel may go on with the run for a second, until it notices that papermill is gone:
    then the next attempt must be refused.
    """
    path = cut.path / HISTORY
    before = stamp(path)
    run = notebook_run(logs, logs.with_suffix(".ipynb"))
    killed = None
    if draw is not None:
        process = psutil.Process(run.pid)
        victims = draw.choice(("papermill", "the kernel", "papermill and the kernel"))
        if draw.random() < 0.3:  # while it imports or loads
            time.sleep(draw.uniform(1, 4))
        else:
            while stamp(path) == before and run.poll() is None:
                time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.1))
        kernels = process.children(recursive=True) if run.poll() is None else []
        if run.poll() is None and not cut.finished:
            doomed = [process] if victims == "papermill" else kernels
            doomed = [process, *kernels] if victims.endswith("and the kernel") else doomed
            trained = stamp(path) != before
            for each in doomed:
                each.kill()
            if doomed:
                killed = f"{victims}, {'after an epoch' if trained else 'in its first seconds'}"
            psutil.wait_procs([each for each in kernels if each in doomed], timeout=60)
    message = run.communicate()[1]
    expected = ("another process", "Kernel died", "DeadKernelError")
    if run.returncode not in {0, -signal.SIGKILL} and not any(w in message for w in expected):
        raise RunError(f"the notebook failed: {message}")
    return killed


def stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def record(outcomes: list[Outcome], seconds: float, code: Code) -> dict[str, Any]:
    """What to keep of it: how many, where, whether all were the same, and of which code it is."""
    places = Counter(at for outcome in outcomes for at in outcome.killed)
    return {
        "kills": places.total(),
        "runs": len(outcomes),
        "identical": sum(not outcome.differences for outcome in outcomes),
        "differences": sorted({d for outcome in outcomes for d in outcome.differences}),
        "places": dict(sorted(places.items())),
        "seconds": round(seconds),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": code.commit,
        "dirty": code.dirty,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Kill runs; see whether they end with the same bits."
    )
    parser.add_argument("--kills", type=int, default=0, help="kills of `fit`")
    parser.add_argument("--papermill", type=int, default=0, help="kills of a run of the notebook")
    parser.add_argument("--each", type=int, default=8, help="kills of one run, at most")
    parser.add_argument("--seed", type=int, default=0, help="decides when they die")
    parser.add_argument("--output", type=Path, default=RECORD)
    given = parser.parse_args()
    records = json.loads(given.output.read_text(encoding="utf-8")) if given.output.exists() else {}
    for name, kills, work in (
        ("fit", given.kills, torment),
        ("papermill", given.papermill, torment_notebooks),
    ):
        if kills:
            begin, code = time.perf_counter(), inspect_code()
            root = Path(tempfile.mkdtemp(prefix="labcnn-kills-"))
            outcomes = work(kills, root, given.seed, given.each)
            records[name] = record(outcomes, time.perf_counter() - begin, code)
            print(json.dumps(records[name], indent=2))
            write_text(given.output, json.dumps(records, indent=2) + "\n")
            if records[name]["differences"]:
                sys.exit(f"not the same; the runs are in {root}")
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
