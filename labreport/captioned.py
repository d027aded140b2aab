"""A figure that brings its own label and caption, for one that isn't in every report."""

import base64
import html
import io
from functools import cached_property

from matplotlib.figure import Figure

from labreport.document import escape


class Captioned:
    """A figure as the exporters read it from Markdown, and as JupyterLab shows it.

    A cell's ``#| label`` promises a figure; what may be left out comes as this, or as a sentence.

    Parameters
    ----------
    label : what ``@fig-…`` refers to, with its ``fig-``.
    caption : plain text, also the text for who can't see the figure.
    """

    def __init__(self, figure: Figure, label: str, caption: str) -> None:
        self.figure, self.label, self.caption = figure, label, caption

    def _repr_markdown_(self) -> str:
        return f"![{escape(self.caption)}]({self._address}){{#{self.label}}}"

    def _repr_html_(self) -> str:
        caption = html.escape(self.caption)
        image = f'<img src="{self._address}" alt="{caption}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"

    @cached_property  # a figure without a layout has one, of the defaults, once it is saved
    def _address(self) -> str:
        picture = io.BytesIO()
        self.figure.savefig(picture, format="svg", bbox_inches="tight", metadata={"Date": None})
        return f"data:image/svg+xml;base64,{base64.b64encode(picture.getvalue()).decode()}"
