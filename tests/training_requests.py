"""Requests of tiny runs, runs that were stopped, and what an interruption must not change."""

from safetensors.torch import load_file

from labcnn.request import RunRequest
from labcnn.runs import MODEL
from labcnn.training.hardware import choose_hardware
from labcnn.training.trainer import Trainer


def request(**parameters):
    small = {
        "variant": "short_norm",
        "dataset": "shapes",
        "width": 4,
        "epochs": 2,
        "batch_size": 16,
        "first_size": 32,
        "last_size": 32,
    }
    return RunRequest.from_parameters(small | {"threads": 1} | parameters)


def trainer_of(wanted, data):
    """The trainer that `fit` makes."""
    hardware = choose_hardware(wanted.device, wanted.precision, wanted.threads)
    return Trainer(wanted, data, hardware, wanted.folder)


def train_epochs(wanted, data, count=1):
    """Train a run's next epochs and leave it, as a process that ends then."""
    trainer = trainer_of(wanted, data)
    trainer.resume()
    for _ in range(count):
        trainer.run_epoch()
    trainer.journal.close()


def numbers_of(folder):
    """Everything of a finished run that is the same whenever it is the same run."""
    return {
        "history": folder.history().drop(columns=["seconds", "images_per_second"]).to_csv(),
        "gradients": folder.gradients().to_csv(),
        "predictions": {name: a.tobytes() for name, a in folder.predictions().items()},
        "weights": {n: t.numpy().tobytes() for n, t in load_file(folder.path / MODEL).items()},
    }
