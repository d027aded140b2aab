"""A sweep of a thousand runs: what each costs beside its notebook, and what a killed one loses.

    python benchmarks/many_runs.py              # 18 variants x 60 seeds: many_runs.json
    python benchmarks/many_runs.py --seeds 2    # in minutes

The notebook is a stand-in that puts the files of one trained run into its folder, so that nothing
but the sweep, papermill and the kernels takes time. ``labcnn sweep`` is killed by SIGKILL when a
third is done, and started again. POSIX only, as SIGKILL is.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import psutil  # type: ignore[import-untyped]
from nbformat.v4 import new_code_cell, new_notebook
from small_data import small_data

from labcnn.request import RunRequest
from labcnn.runs import GRADIENTS, HISTORY, PREDICTIONS, RESULT, load_runs
from labcnn.training.hardware import choose_hardware
from labcnn.training.trainer import fit
from labcnn.variants import VARIANTS
from labsweep.sweep import Sweep

HERE = Path(__file__).parent
RECORD = HERE / "many_runs.json"

CELLS = (
    """
variant = "short_all"
seed = 0
dataset = "shapes"
epochs = 1
width = 4
threads = 1
logs = None
overwrite = False
""",
    """
import json
import shutil
from pathlib import Path

from labcnn.files import write_text

template = Path("template")
result = json.loads((template / "{RESULT}").read_text(encoding="utf-8"))
folder = Path(logs, result["experiment"], variant, f"seed{seed}")
folder.mkdir(parents=True, exist_ok=True)
for name in ("{HISTORY}", "{GRADIENTS}", "{PREDICTIONS}"):
    shutil.copy(template / name, folder / name)
result["recipe"] |= dict(variant=variant, seed=seed)
write_text(folder / "{RESULT}", json.dumps(result))
""".replace("{RESULT}", RESULT)
    .replace("{HISTORY}", HISTORY)
    .replace("{GRADIENTS}", GRADIENTS)
    .replace("{PREDICTIONS}", PREDICTIONS),
)


def prepared(folder: Path) -> Path:
    """The stand-in notebook, with the files of one trained run beside it."""
    given = {"variant": "short_all", "dataset": "shapes", "epochs": 1, "width": 4, "threads": 1}
    request = RunRequest.from_parameters({**given, "logs": str(folder / "one")})
    fit(request, small_data(noise=20))
    request.folder.path.rename(folder / "template")
    parameters, body = (new_code_cell(text.strip()) for text in CELLS)
    parameters.metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = new_notebook(cells=[parameters, body], metadata={"kernelspec": kernel})
    nbformat.write(made, folder / "train.ipynb")
    return folder / "train.ipynb"


def alone(notebook: Path, sweep: Sweep, rounds: int = 5) -> float:
    """Seconds of one notebook by papermill, a process of its own for each; the median."""
    taken = []
    for number in range(rounds):
        told = sweep.parameters_of("short_all", 0) | {"logs": str(notebook.parent / "alone")}
        executed = notebook.parent / f"alone{number}.ipynb"
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "labsweep.execute", notebook, executed, json.dumps(told)],
            check=True,
        )
        taken.append(time.perf_counter() - begin)
    return median(taken)


class Watched:
    """``labcnn sweep`` as a process: how long it took, and the most memory it held."""

    def __init__(self, sweep: Sweep, jobs: int) -> None:
        given = [f"{name}={value}" for name, value in sweep.parameters.items()]
        command = [
            sys.executable, "-m", "labcnn.cli", "sweep", *given, "--jobs", str(jobs),
            "--variants", " ".join(sweep.variants), "--seeds", " ".join(map(str, sweep.seeds)),
            "--logs", str(sweep.logs), "--notebook", str(sweep.notebook),
        ]  # fmt: skip
        self.begin = time.perf_counter()
        self.process = psutil.Popen(command, stdout=subprocess.DEVNULL)
        self.megabytes = {"labcnn sweep": 0.0, "snakemake": 0.0}
        self.family: list[psutil.Process] = []

    def look(self) -> None:
        """Note the memory of the sweep and of Snakemake, and which processes there are."""
        with suppress(psutil.NoSuchProcess):
            self._note("labcnn sweep", self.process)
            self.family = self.process.children(recursive=True)
            for child in self.process.children():
                self._note("snakemake", child)

    def _note(self, name: str, process: Any) -> None:
        self.megabytes[name] = max(self.megabytes[name], process.memory_info().rss / 1e6)

    def until(self, condition: Any) -> float:
        """Wait until ``condition`` holds or the process has ended; the seconds since its start."""
        while self.process.poll() is None and not condition():
            self.look()
            time.sleep(1)
        return time.perf_counter() - self.begin


def measure(seeds: int, jobs: int, folder: Path) -> dict[str, Any]:
    """Everything that ``many_runs.json`` holds."""
    notebook = prepared(folder)
    parameters = {"dataset": "shapes", "epochs": 1, "width": 4}
    own = {"variants": tuple(VARIANTS), "seeds": tuple(range(seeds)), "logs": folder / "logs"}
    sweep = Sweep.from_options({**parameters, **own, "notebook": notebook})
    runs = len(sweep.runs)
    papermill = alone(notebook, sweep)
    print(f"papermill alone: {papermill:.2f} s a run", flush=True)

    def results() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in sweep.folder.glob(f"*/seed*/{RESULT}")}

    first = Watched(sweep, jobs)
    first.until(lambda: len(results()) >= runs // 3)
    first.process.kill()
    _, left = psutil.wait_procs(first.family, timeout=30)
    before = results()
    killed = time.perf_counter() - first.begin
    print(f"killed after {killed:.0f} s with {len(before)} of {runs} runs", flush=True)
    second = Watched(sweep, jobs)
    resumed = second.until(lambda: False)
    after = results()
    print(f"went on for {resumed:.0f} s: {len(after)} runs", flush=True)
    third = Watched(sweep, jobs)
    nothing = third.until(lambda: False)

    begin = time.perf_counter()
    table, problems = load_runs(sweep.logs)
    loading = time.perf_counter() - begin
    listing = timed("runs", sweep)
    a_run = resumed * jobs / (runs - len(before))
    return {
        "runs": runs,
        "jobs": jobs,
        "papermill_seconds": papermill,
        "sweep_seconds_per_run": a_run,
        "overhead_seconds_per_run": a_run - papermill,
        "killed_with": len(before),
        "processes_left_by_the_kill": len(left),
        "run_twice": sum(after.get(path) != stamp for path, stamp in before.items()),
        "missing": runs - len(after),
        "nothing_due_seconds": nothing,
        "most_megabytes": {
            name: max(first.megabytes[name], second.megabytes[name]) for name in first.megabytes
        },
        "load_runs": {"runs": len(table), "problems": len(problems), "seconds": loading},
        "labcnn_runs_seconds": listing,
        "machine": f"{choose_hardware('cpu').name}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in ("snakemake", "papermill")},
    }


def timed(command: str, sweep: Sweep) -> float:
    """Seconds of a command of labcnn's on the sweep's logs."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "labcnn.cli", command, "--logs", sweep.logs],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=60, help="of each of the 18 variants")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs side by side")
    options = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory(prefix="labcnn-") as folder:
        record = measure(options.seeds, options.jobs, Path(folder))
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
