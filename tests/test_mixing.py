"""Whoever begins a run joins its experiment, long before its first epoch is over."""

import json
import multiprocessing
import time

import pytest
from small_data import small_data as make_data
from training_requests import request

from labcnn.errors import RunError
from labcnn.runs import EXPERIMENT, HISTORY, RunFolder
from labcnn.training.trainer import fit

pytestmark = pytest.mark.system

#: Processes that come with torch imported.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["labcnn.training.trainer", "torch._dynamo"])
#: An epoch of so many steps takes a second.
SLOW = {"experiment": "mine", "batch_size": 4, "epochs": 2, "first_size": 64, "last_size": 64}
FIRST = SLOW | {"variant": "short_all", "learning_rate": 0.02}
SECOND = SLOW | {"learning_rate": 0.05}


def train(pipe):
    """Train what comes through the pipe; answer with the line it was refused with, or nothing."""
    given = pipe.recv()
    try:
        fit(request(**given), make_data(noise=20))
    except RunError as error:
        pipe.send(str(error))
    else:
        pipe.send("")


class Training:
    """A process that is there already and begins when it is told to."""

    def __init__(self, logs):
        self.logs = str(logs)
        self.pipe, other = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=train, args=(other,))

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()

    def begin(self, parameters):
        self.pipe.send({**parameters, "logs": self.logs})

    def refused(self):
        """The one line that it ended with; empty if it trained."""
        assert self.pipe.poll(120)
        return self.pipe.recv()


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def rate_on_record():
    path = request(**FIRST).folder.path.parents[1] / EXPERIMENT
    return json.loads(path.read_text(encoding="utf-8"))["learning_rate"]


@pytest.mark.parametrize("distance", ["none", "its record", "its epoch"])
def test_of_two_recipes_that_begin_one_experiment_one_is_refused(distance, logs):
    folder = request(**FIRST).folder.path
    seen = {
        "its record": (folder.parents[1] / EXPERIMENT).exists,
        "its epoch": (folder / HISTORY).exists,
    }
    with Training(logs) as first, Training(logs) as second:
        first.begin(FIRST)
        if distance in seen:
            wait_for(seen[distance])
        second.begin(SECOND)
        lines = [first.refused(), second.refused()]
    said = "learning_rate={} can't join experiment 'mine', which has learning_rate={}; "
    (refused,) = (line for line in lines if line)
    if distance in ("its record", "its epoch"):
        assert lines[0] == ""
    mine, theirs = (0.02, 0.05) if lines[0] else (0.05, 0.02)
    assert refused.startswith(said.format(mine, theirs))
    assert rate_on_record() == theirs
    finished = [request(**each).folder.finished for each in (FIRST, SECOND)]
    assert finished == [not line for line in lines]


def test_a_run_that_died_before_its_first_epoch_holds_nothing_up(small_data, logs):
    folder = request(**FIRST).folder.path
    with Training(logs) as first:
        first.begin(FIRST)
        wait_for((folder.parents[1] / EXPERIMENT).exists)
        first.process.kill()
        first.process.join()
    assert not (folder / HISTORY).exists()
    # git, which it had just forked to ask for the commit, may hold its lock for a moment more
    wait_for(lambda: not RunFolder(folder).is_locked())
    assert fit(request(**SECOND), small_data).recipe.learning_rate == rate_on_record() == 0.05
    with Training(logs) as again:  # nor does it mix what others have
        again.begin(FIRST)
        assert "which has learning_rate=0.05" in again.refused()


def test_a_lost_record_is_made_from_the_results(small_data, logs):
    fit(request(experiment="mine"), small_data)
    record = request(experiment="mine").folder.path.parents[1] / EXPERIMENT
    content = record.read_text(encoding="utf-8")
    record.unlink()
    with Training(logs) as other:
        other.begin({"experiment": "mine", "seed": 1, "epochs": 1})
        assert "epochs=1 can't join experiment 'mine', which has epochs=2" in other.refused()
    fit(request(experiment="mine", seed=1), small_data)
    assert record.read_text(encoding="utf-8") == content
