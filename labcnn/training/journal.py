"""What a run writes while it goes: history, gradient norms, TensorBoard events, a line to read."""

import shutil
from typing import Any

import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from labcnn.files import write_text
from labcnn.runs import (
    GRADIENT_COLUMNS,
    GRADIENTS,
    HISTORY,
    HISTORY_COLUMNS,
    TENSORBOARD,
    RunFolder,
)

#: Columns are apart by tabs, as a browser's Chinese letters aren't as wide as two others; cells of
#: the wide columns have 8 to 15 letters, of the others fewer.
HEADERS = {
    "en": "epoch\ttrain loss/acc\tevaluated acc\tval loss/acc\trate\tseconds\timages/s",
    "zh": "轮\t训练损失/准确率\t评估时准确率\t验证损失/准确率\t学习率\t秒\t图像/秒",
}
LINE = (
    "{epoch}\t{train_loss:.4f}  {train_accuracy:<7.2%}\t{train_eval_accuracy:<9.2%}\t"
    "{val_loss:.4f}  {val_accuracy:<7.2%}\t{learning_rate:.3g}\t{seconds:.1f}\t"
    "{images_per_second:.0f}"
)
RESUMES = {
    "en": "Resuming after epoch {} and {} steps.",
    "zh": "从检查点继续：已完成 {} 轮又 {} 步。",
}


class Journal:
    """Rows of ``history.csv`` and ``gradients.csv``, rewritten whole after each epoch."""

    def __init__(self, folder: RunFolder, language: str = "en") -> None:
        self.folder, self.language = folder, language
        self.history: list[dict[str, Any]] = []
        self.gradients: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "gradients": self.gradients}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history, self.gradients = state["history"], state["gradients"]

    def add(self, row: dict[str, Any], gradients: list[dict[str, Any]]) -> None:
        """Add an epoch's row and its layers' norms, write the files and print a line."""
        if not self.history:
            print(HEADERS[self.language])
        self.history.append(row)
        self.gradients.extend(gradients)
        self.write()
        self._add_events(row)
        print(LINE.format(**row), flush=True)

    def print_history(self, steps: int) -> None:
        """Of a run that goes on: how far it is, and the lines of all epochs so far."""
        print(RESUMES[self.language].format(len(self.history), steps))
        if self.history:
            lines = [LINE.format(**row) for row in self.history]
            print("\n".join([HEADERS[self.language], *lines]), flush=True)

    def write(self) -> None:
        for name, columns, rows in (
            (HISTORY, HISTORY_COLUMNS, self.history),
            (GRADIENTS, GRADIENT_COLUMNS, self.gradients),
        ):
            table = pd.DataFrame(rows, columns=list(columns))
            write_text(self.folder.path / name, table.to_csv(index=False, lineterminator="\n"))

    def open_events(self) -> None:
        """Start TensorBoard's event file anew, with the epochs there are: none, or resumed ones."""
        target = self.folder.path / TENSORBOARD
        shutil.rmtree(target, ignore_errors=True)
        self.events = SummaryWriter(str(target))
        for row in self.history:
            self._add_events(row)

    def close(self) -> None:
        self.events.close()

    def _add_events(self, row: dict[str, Any]) -> None:
        for column in HISTORY_COLUMNS[1:]:
            self.events.add_scalar(tag(column), row[column], row["epoch"])
        self.events.flush()


def tag(column: str) -> str:
    """``val_loss`` -> ``loss/val``, so that TensorBoard draws the losses in one group."""
    split, _, measure = column.rpartition("_")
    return f"{measure}/{split}" if measure in ("loss", "accuracy") else column
