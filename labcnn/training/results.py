"""Writing a finished run's predictions and result."""

from statistics import harmonic_mean
from typing import Literal

from labcnn.data import ImageData
from labcnn.files import write_arrays, write_text
from labcnn.models import model_size
from labcnn.request import RunRequest
from labcnn.runs import PREDICTIONS, RESULT, ModelSize, RunFolder, RunResult, Timing
from labcnn.training.clock import Clock
from labcnn.training.evaluate import Evaluation
from labcnn.training.journal import Journal
from labcnn.training.provenance import Code, describe
from labcnn.training.schedules import BestEpoch
from labcnn.training.verdict import judge


def save_result(
    folder: RunFolder,
    request: RunRequest,
    data: ImageData,
    evaluations: dict[str, Evaluation],
    journal: Journal,
    best: BestEpoch,
    stopped: Literal["diverged", "early", "cap"],
    clock: Clock,
    code: Code,
) -> RunResult:
    """Write ``predictions.npz``, then ``result.json``, whose presence proves the run whole."""
    verdict = judge(stopped == "diverged", evaluations["test"], data.classes)
    epochs = journal.history
    train_seconds = sum(row["seconds"] for row in epochs)
    recipe = request.recipe
    size = model_size(recipe.variant, recipe.width, data.classes, recipe.last_size)
    result = RunResult(
        experiment=request.experiment_name,
        recipe=request.recipe,
        status=verdict.status,
        reason=verdict.reason,
        train=evaluations["train"].metrics,
        val=evaluations["val"].metrics,
        test=evaluations["test"].metrics,
        classes=data.classes,
        best_epoch=best.epoch,
        epochs_run=len(epochs),
        stopped=stopped,
        chance_p_value=verdict.p_value,
        timing=Timing(
            train_seconds=train_seconds,
            total_seconds=clock.seconds,
            seconds_per_epoch=train_seconds / len(epochs),
            images_per_second=harmonic_mean(row["images_per_second"] for row in epochs),
        ),
        model=ModelSize(**size._asdict()),
        provenance=describe(data.fingerprint, code, clock),
    )
    arrays = {
        f"{name}_{column}": getattr(evaluations[name], column)
        for name in ("val", "test")
        for column in ("label", "predicted", "probability", "label_probability")
    }
    write_arrays(folder.path / PREDICTIONS, arrays, compressed=True)
    write_text(folder.path / RESULT, result.model_dump_json(indent=2) + "\n")
    return result
