"""Errors meant for the person at the keyboard: one line, no traceback."""


class LabError(Exception):
    """What was wrong, which value, what is valid, what to do; shown as one line."""

    def _render_traceback_(self) -> list[str]:
        """IPython calls this instead of printing a traceback."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(LabError):
    """A parameter that is unknown, has the wrong type or is out of range."""


class DataError(LabError):
    """A data set that is missing, incomplete or damaged."""


class RunError(LabError):
    """A run that can't start here: it is locked, or would mix what isn't comparable."""


class LockedError(RunError):
    """Another process trains the run."""


class ReportError(LabError):
    """A report that can't be made from what is there."""
