"""The steps of a run as a notebook's cells ask for them, in their order and in any other."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from labcnn.files import project_root
from labcnn.request import RunRequest
from labcnn.training import trainer
from labcnn.training.trainer import fit

SMALL = {
    'variant = "short_all"': 'variant = "short_norm"',
    'dataset = "auto"': 'dataset = "shapes"',
    "fraction = 1.0": "fraction = 0.04",
    "epochs = None": "epochs = 1",
    "width = None": "width = 4",
    "threads = None": "threads = 1",
}


def cells(**changed: str) -> list[str]:
    """The code cells of train.ipynb, with small values in the parameters' cell."""
    path = project_root() / "notebooks" / "train.ipynb"
    sources = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    for old, new in (SMALL | changed).items():
        assert old in sources[0]
        sources[0] = sources[0].replace(old, new)
    return sources


def run(sources: list[str], folder: Path) -> list[str]:
    """Execute cells in one kernel, as they come; what each put out, or its error's last line."""
    made = new_notebook(cells=[new_code_cell(source) for source in sources])
    client = NotebookClient(made, allow_errors=True, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return [
        "".join(
            "\n".join(output["traceback"]) if output["output_type"] == "error"
            else output.get("text") or output["data"].get("text/markdown", "")
            for output in cell.outputs
        )
        for cell in made.cells
    ]  # fmt: skip


@pytest.mark.system
def test_cells_out_of_order_and_changed_parameters_end_in_one_line(
    tmp_path: Path, logs: Path
) -> None:
    own = tmp_path / "own.py"
    own.write_text("print('own.py was run')\n")
    parameters, request, data, network, train, table, *_ = cells(
        **{"variants_file = None": f"variants_file = {str(own)!r}"}
    )
    changed = parameters.replace("short_norm", "short_baseline")
    order = [
        "import labcnn.notebook", train, request, parameters, network, request, network, data,
        train, changed, train, table, request, table,
    ]  # fmt: skip
    said = run(order, tmp_path)
    assert ["own.py was run" in each for each in said] == [
        k in (5, 12) for k in range(len(order))
    ]  # by the cells that read the request, not by each that checks it
    assert said[1] == (
        "RunError: request isn't there yet: first run the cell with `request = read_request()`, "
        "and those above it (Run > Run All Above Selected Cell)"
    )
    assert said[2].startswith("ParameterError: no parameters: run the cell that begins with")
    assert "`data = load_data(request)`" in said[6] and "\n" not in said[6]
    assert "short_norm" in said[8] and f"{logs}" in said[8] and "\n1\t" in said[8]
    stale = (
        "RunError: variant is 'short_baseline' by now, this request has 'short_norm': run the "
        "cell with `request = read_request()` again, and those below it"
    )
    assert said[10:12] == [stale, stale]
    assert said[13].startswith("RunError: short_baseline seed 0 of ")
    assert said[13].endswith(
        "no result yet: first run the cell with `result = train(request, data, watch(request))`"
    )
    assert [path.parent.parent.name for path in logs.rglob("result.json")] == ["short_norm"]


class Recorder:
    """A watcher that notes what it is shown."""

    def __init__(self, stop_in: int | None = None) -> None:
        self.stop_in = stop_in
        self.seen: list[Any] = []

    def steps(self, batches: Any, epoch: int, first: int, count: int) -> Any:
        for step, batch in enumerate(batches, first):
            if epoch == self.stop_in and step == 1:
                raise KeyboardInterrupt
            yield batch
            self.seen.append((epoch, step, count))

    def after_epoch(self, history: list[dict[str, Any]]) -> None:
        self.seen.append([row["epoch"] for row in history])


def request(**given: Any) -> RunRequest:
    small = {"variant": "short_norm", "dataset": "shapes", "width": 4, "epochs": 3, "threads": 1}
    return RunRequest.from_parameters(small | {"batch_size": 60} | given)


def test_a_watcher_sees_every_step_and_a_stop_costs_no_epoch(small_data, capsys) -> None:
    with pytest.raises(trainer.Interrupted) as stopped:
        fit(request(language="en"), small_data, Recorder(stop_in=2))
    assert str(stopped.value).startswith("stopped in epoch 2 of 3; run this again to go on")
    capsys.readouterr()
    watcher = Recorder()
    fit(request(language="en"), small_data, watcher)
    steps = [(epoch, step, 2) for epoch in (2, 3) for step in (0, 1)]
    assert watcher.seen == [*steps[:2], [1, 2], *steps[2:], [1, 2, 3]]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Resuming after epoch 1")
    assert lines[1].split()[0] == "epoch"  # the table begins at epoch 1, also of a resumed run
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3"]
