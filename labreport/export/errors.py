"""What is wrong with a notebook that is exported, for the person at the keyboard."""


class ExportError(Exception):
    """Which cell or option it is, what is wrong with it, and what is valid; shown as one line."""

    def _render_traceback_(self) -> list[str]:
        """IPython calls this instead of printing a traceback."""
        return [f"{type(self).__name__}: {self}"]
