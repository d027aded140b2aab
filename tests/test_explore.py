"""explore.ipynb shows what its text claims, at smoke size; and what it measures is right."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import nbformat
import pandas as pd
import pytest
import torch
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from labcnn.errors import ParameterError
from labcnn.explore import (
    Trials,
    activation_scales,
    reestimate_norm,
)
from labcnn.files import project_root
from labcnn.models import ConvNet
from labcnn.notebook import assigned_names
from labcnn.training.hardware import choose_hardware
from labcnn.variants import Variant, get_variant
from labreport.dropout_study import read_dropout_study

NOTEBOOK = project_root() / "notebooks" / "explore.ipynb"
#: As many steps as at the defaults, on fewer images: with fewer steps, not every seed shows it all.
SMOKE = {"fraction": 0.75, "epochs": 4}
PLAIN, NORM, RESIDUAL, BOTH = "基线", "归一化", "残差", "归一化 + 残差"
CHANCE = math.log(20)


class Execution:
    """The notebook in one kernel, executed as far as the tests have asked for."""

    def __init__(self, notebook: NotebookNode, client: NotebookClient) -> None:
        self.notebook, self.client = notebook, client
        self.done = 0

    def frame(self, name: str) -> Any:
        """A frame of the notebook; the cells up to the one that makes it are executed first."""
        sources = [cell.source for cell in self.notebook.cells]
        self.run(1 + next(k for k, s in enumerate(sources) if re.search(f"^{name} = ", s, re.M)))
        self.notebook.cells.append(new_code_cell(f"print({name}.to_json(orient='split'))"))
        self.client.execute_cell(self.notebook.cells[-1], len(sources))
        (printed,) = self.notebook.cells.pop().outputs
        return pd.DataFrame(**json.loads(printed.text))

    def run(self, count: int) -> None:
        """Execute the first ``count`` cells, without those that have been."""
        for index in range(self.done, count):
            self.client.execute_cell(self.notebook.cells[index], index)
        self.done = max(self.done, count)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Execution]:
    home = str(tmp_path_factory.mktemp("explore"))
    notebook = parameterize_notebook(load_notebook_node(str(NOTEBOOK)), SMOKE)
    client = NotebookClient(notebook, resources={"metadata": {"path": home}})
    with client.setup_kernel():
        yield Execution(notebook, client)


@pytest.mark.system
def test_activations_of_the_plain_net_fade_and_normalisation_holds_them(
    executed: Execution,
) -> None:
    scales = executed.frame("activations").pivot(index="block", columns="网络", values="scale")
    first, last = scales.iloc[0], scales.iloc[-1]
    assert last[PLAIN] < 0.1 * first[PLAIN]
    assert scales[NORM].max() < 2 * scales[NORM].min()
    assert 2 * first[RESIDUAL] < last[RESIDUAL] < 20 * first[RESIDUAL]
    for begin in (1, 4, 7, 10):  # the first block of each stage
        stage = scales[BOTH].loc[begin : begin + 2]
        assert stage.is_monotonic_increasing and 0.8 < stage.iloc[0] < 1.3


@pytest.mark.system
def test_gradients_of_the_plain_net_are_small_and_normalisation_amplifies_them(
    executed: Execution,
) -> None:
    found = executed.frame("gradients").query("stage < 5")
    norms = found.groupby(["stage", "网络"])["gradient_norm"].mean().unstack()
    assert (10 * norms[PLAIN] < norms.drop(columns=PLAIN).min(axis=1)).all()
    assert norms.loc[1:, NORM].is_monotonic_decreasing
    amplified = norms.loc[0] / norms.loc[4]
    assert amplified[NORM] > 1.5 * amplified[BOTH] > 1.5

    losses = executed.frame("short_losses").groupby("网络")["mean_loss"].last()
    assert abs(losses[PLAIN] - CHANCE) < 0.02
    assert (losses[[NORM, BOTH]] < losses[PLAIN] - 0.02).all()
    short = executed.frame("short_gradients").query("stage < 5")
    by_time = short.groupby(["时刻", "stage", "网络"])["gradient_norm"].mean().unstack()
    after, before = by_time.loc["一轮之后"], by_time.loc["训练之前"]
    assert (after[PLAIN] < after.drop(columns=PLAIN).min(axis=1)).all()
    assert (after.loc[0, [NORM, BOTH]] > 1.3 * before.loc[0, [NORM, BOTH]]).all()
    gaps = [table.loc[4].drop(PLAIN).min() / table.loc[4, PLAIN] for table in (before, norms)]
    assert gaps[0] < gaps[1]  # the short net suffers less


@pytest.mark.system
def test_dropout_in_the_stages_spoils_the_statistics_not_the_weights(executed: Execution) -> None:
    modes = executed.frame("modes").pivot(index="mode", columns="dropout", values="loss")
    stages, head = modes["各阶段之后"], modes["仅线性层之前"]
    anew, with_dropout = "statistics anew, dropout off", "statistics anew, dropout on"
    assert stages[anew] < stages["in training"] < stages["as trained"] - 0.03
    assert abs(stages[with_dropout] - stages["as trained"]) < 0.05
    assert head[anew] == pytest.approx(head[with_dropout], abs=1e-6)
    assert abs(head[anew] - head["as trained"]) < 0.05
    assert head["as trained"] < head["in training"]
    accuracy = executed.frame("modes").pivot(index="mode", columns="dropout", values="accuracy")
    assert accuracy["各阶段之后"][anew] > accuracy["各阶段之后"]["as trained"] + 0.02


@pytest.mark.system
def test_one_rate_is_slow_one_good_one_too_large_and_one_diverges(executed: Execution) -> None:
    last = executed.frame("rate_losses").groupby("学习率").last()
    last.index = last.index.astype(float)
    assert last["mean_loss"][0.01] < last["mean_loss"][0.001] - 0.2
    assert last["mean_loss"][0.001] < CHANCE - 0.02
    assert abs(last["mean_loss"][0.1] - CHANCE) < 0.1
    assert last["step"][10] < 20 < last["step"][0.1] and not last["loss"][10] < 1e6


@pytest.mark.system
def test_a_rate_that_falls_leaves_the_common_path_for_a_lower_loss(executed: Execution) -> None:
    losses = executed.frame("decay_losses").pivot(
        index="step", columns="学习率", values="mean_loss"
    )
    rates = executed.frame("decay_losses").pivot(
        index="step", columns="学习率", values="learning_rate"
    )
    common = rates["固定"] == rates["下降"]
    assert common.mean() == pytest.approx(2 / 3, abs=0.01)
    assert (losses["固定"] == losses["下降"])[common].all()
    assert losses["下降"].iloc[-1] < losses["固定"].iloc[-1] - 0.03
    modes = executed.frame("decay_modes").pivot(index="mode", columns="学习率", values="loss")
    fixed, falling = modes["固定"], modes["下降"]
    anew = "statistics anew, dropout off"
    assert falling["as trained"] < fixed["as trained"] - 0.03 and falling[anew] < fixed[anew]
    assert fixed[anew] < fixed["as trained"]
    accuracy = executed.frame("decay_modes").pivot(
        index="mode", columns="学习率", values="accuracy"
    )
    assert accuracy["下降"]["as trained"] > accuracy["固定"]["as trained"]


@pytest.mark.system
def test_an_own_variant_is_compared_fairly_in_evaluation_mode(executed: Execution) -> None:
    own = executed.frame("own_modes").set_index("mode")["loss"]
    other = executed.frame("modes").query("dropout == '仅线性层之前'").set_index("mode")["loss"]
    training = executed.frame("compared").groupby("网络")["mean_loss"].last()
    gaps = other - own
    assert training["加 dropout"] - training["自己的变体"] > 0.2
    assert gaps["as trained"] < gaps["in training"] - 0.05


@pytest.mark.system
def test_it_draws_seven_figures_and_warns_of_nothing(executed: Execution) -> None:
    executed.run(len(executed.notebook.cells))
    outputs = [output for c in executed.notebook.cells for output in c.get("outputs", [])]
    assert [o.text for o in outputs if o.output_type == "stream"] == []
    assert sum("image/svg+xml" in o.get("data", {}) for o in outputs) == 7
    assert len(nbformat.writes(executed.notebook)) < 1_000_000


def test_scales_are_those_of_the_blocks_and_measuring_moves_nothing() -> None:
    torch.manual_seed(0)
    net = ConvNet(Variant("short", norm=True, residual=True, dropout=True), 4, 3, 0.5)
    x = torch.randn(8, 3, 32, 32)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    random = torch.get_rng_state()
    found = activation_scales(net, x)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    y, expected = torch.relu(net.stem(x)), []
    for stage in net.stages:
        y = stage(y)
        expected.append(y.square().mean().sqrt().item())
    assert found["scale"].tolist() == pytest.approx(expected, rel=1e-5)
    assert found["stage"].tolist() == found["block"].tolist() == [1, 2, 3, 4]


def test_statistics_taken_anew_are_those_of_the_inputs():
    """Of known inputs: the mean over batches of their means and variances, with dropout off."""
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(2, momentum=0.3)
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), norm)
    inputs = [
        torch.randn(6, 2, 4, 4) * torch.tensor([2.0, 5.0]).view(1, 2, 1, 1) + k for k in (1, 4)
    ]
    hardware = choose_hardware("cpu", "fp32", 1)
    reestimate_norm(model, inputs, hardware)
    flat = [x.transpose(0, 1).flatten(1) for x in inputs]
    torch.testing.assert_close(norm.running_mean, sum(x.mean(1) for x in flat) / 2)
    torch.testing.assert_close(norm.running_var, sum(x.var(1) for x in flat) / 2)
    assert norm.momentum == 0.3 and not any(module.training for module in model.modules())
    reestimate_norm(
        model, inputs, hardware, dropout=True
    )  # at rate 0.5 the variance doubles, or so
    assert (norm.running_var > 1.5 * sum(x.var(1) for x in flat) / 2).all()


def test_a_net_with_statistics_of_one_batch_answers_as_it_did_in_training_on_it():
    torch.manual_seed(0)
    model = ConvNet(get_variant("mid_all"), 4, 4).double()
    x = torch.randn(64, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        trained = model.train()(x)
        for module in model.modules():  # whatever they were
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.fill_(7)
        reestimate_norm(model, [x], choose_hardware("cpu", "fp64", 1))
        evaluated = model(x)
    # n / (n - 1) apart: running variances are unbiased, those of a batch aren't
    torch.testing.assert_close(evaluated, trained, rtol=0.02, atol=0.002)


def test_the_study_at_full_size_is_read_not_typed() -> None:
    page = (project_root() / "benchmarks" / "dropout_norm.md").read_text(encoding="utf-8")
    study = read_dropout_study().query("epoch == epoch.max()")
    for place, rows in study.groupby("place"):
        (line,) = re.findall(rf"^\| {place} \|(.+)$", page, re.MULTILINE)
        means = rows.groupby("mode", sort=False)["accuracy"].mean()
        assert re.findall(r"([\d.]+) \(", line) == [f"{100 * mean:.1f}" for mean in means]


def test_parameters_are_those_of_the_trials_and_a_bad_one_ends_in_a_line() -> None:
    cells = nbformat.read(NOTEBOOK, 4).cells
    (cell,) = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    first, *lines = cell.source.splitlines()
    assert first == "# parameters"
    assert all(re.fullmatch(r"\w+ = \S+  # (str|int|float): .+", line) for line in lines)
    assert assigned_names(cell.source) == list(Trials.model_fields)
    values: dict[str, Any] = {}
    exec(cell.source, values)
    given = {name: values[name] for name in Trials.model_fields}
    assert Trials.from_parameters(given).model_dump() == given
    with pytest.raises(ParameterError, match=r"^size=8 isn't valid: .* equal to 24"):
        Trials.from_parameters(given | {"size": 8})


def test_the_notebook_narrates() -> None:
    """No class, no function, no loop over epochs, no path arithmetic in a cell."""
    for cell in nbformat.read(NOTEBOOK, 4).cells:
        if cell.cell_type == "code":
            for word in ("class ", "while ", "def ", "Path(", "for epoch", "for x, y"):
                assert word not in cell.source, cell.source
