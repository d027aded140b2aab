"""Requests of tiny runs, and what of a run must not change by an interruption."""

from labcnn.request import RunRequest


def request(**parameters):
    small = {
        "variant": "short_norm",
        "dataset": "shapes",
        "width": 4,
        "epochs": 2,
        "batch_size": 16,
        "first_size": 64,
        "last_size": 64,
    }
    return RunRequest.from_parameters(small | {"threads": 1} | parameters)


def without_times(history):
    return history.drop(columns=["seconds", "images_per_second"])


def weights_of(folder):
    return {name: array.tobytes() for name, array in folder.predictions().items()}
