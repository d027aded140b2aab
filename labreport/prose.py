"""From facts to the report's sentences, which are the templates in ``text/``.

A template is Markdown with Jinja: https://jinja.palletsprojects.com/templates/. What it may speak
of is in :class:`labreport.facts.Facts`, and it can choose by what was found::

    {% set verdict = facts.claims["dropout-helps"] %}
    {% if verdict.outcome == Outcome.HOLDS %}…{% elif verdict.outcome == Outcome.FAILS %}…

A name it misspells is an error. A paragraph is one line; ``{%-`` and ``-%}`` join lines. Text from
outside goes through ``| escape``; the other filters escape what they return. A table of words is a
pipe table in its text, one of numbers in :mod:`labreport.tables`; a table's caption is in its cell
of the notebook, a figure's in ``captions.md.j2``.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from labcnn.data import Origin
from labcnn.data.splits import IMAGE_SHAPE
from labcnn.runs import NUMERICS, SIGNIFICANCE
from labcnn.variants import REPORT_VARIANTS, VARIANTS
from labreport import formats, words
from labreport.claims import GAP_TOLERANCE
from labreport.class_images import SAMPLES
from labreport.classes import PAIRS
from labreport.costs import training_flops
from labreport.display import escape
from labreport.estimates import ALPHA
from labreport.export.pandoc import without_paths
from labreport.measures import BUSY, Why
from labreport.verdicts import LEAST_ACCURACY, Outcome

#: It would be read as a space; not before an item of a list, a table or a block.
_LINE_IN_A_PARAGRAPH = re.compile(r"(?<=[\u3002\uff1b\uff1a])\n(?=[^\W_])(?!\d+\. )")


def render(template: str, **facts: Any) -> str:
    """A text of the report, as Markdown.

    Parameters
    ----------
    template : file in ``text/``, without its ``.md.j2``.
    facts : what the template's names stand for.
    """
    text = _environment().get_template(f"{template}.md.j2").render(facts).strip()
    return _LINE_IN_A_PARAGRAPH.sub("", text)


def phrase(name: str, *facts: Any) -> str:
    """A macro of ``text/phrases.md.j2``: what stands in a table, a caption, another sentence."""
    macro = getattr(_environment().globals["phrases"], name)
    return str(macro(*facts)).strip()


def caption(name: str, facts: object) -> str:
    """A figure's caption, plain text: a macro of ``text/captions.md.j2``."""
    made = _environment().get_template("captions.md.j2").module
    return re.sub(r"\\(.)", r"\1", str(getattr(made, name)(facts)).strip())


def _names(variants: Iterable[str]) -> str:
    return formats.join(formats.short_name(variant) for variant in variants)


def _spaced(text: str, before: bool = False, after: bool = True) -> str:
    """With a space where a Latin letter or a digit would touch the Chinese word beside it."""

    def latin(letter: str) -> bool:
        return letter.isascii() and letter.isalnum()

    left = " " if before and latin(text[:1]) else ""
    return left + text + (" " if after and latin(text[-1:]) else "")


def _code(text: str) -> str:
    """Text from outside as a line in a block of code, which it can't end."""
    return " ".join(text.replace("`", "'").split())


def _escaping(function: Callable[..., object]) -> Callable[..., str]:
    return lambda *given, **more: escape(str(function(*given, **more)))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("labreport", "text"), undefined=StrictUndefined, autoescape=False,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    plain: dict[str, Callable[..., object]] = {
        "name": formats.short_name, "names": _names, "comma": formats.join,
        "percent": formats.percent, "number": formats.number, "interval": formats.interval,
        "seconds": formats.seconds, "span": formats.span, "title": words.CLAIMS.__getitem__,
        "without_paths": without_paths,
        "depth": lambda v: VARIANTS[v].depth,
        "seeds_of": lambda v, study: len(study.seeds(v)),
        "switch": lambda v: words.SWITCHES.get(v.partition("_")[2], v.partition("_")[2]),
    }  # fmt: skip
    made.filters |= {name: _escaping(function) for name, function in plain.items()}
    made.filters |= {
        "size": formats.size,
        "escape": escape,
        "code": _code,
        "spaced": _spaced,
    }
    made.globals |= {"SAMPLES": SAMPLES, "Origin": Origin, "Outcome": Outcome, "Why": Why}
    made.globals |= {"NUMERICS": NUMERICS, "PAIRS": PAIRS, "GAP_TOLERANCE": GAP_TOLERANCE}
    made.globals |= {"words": words, "ALPHA": ALPHA, "BUSY": BUSY, "IMAGE_SIZE": IMAGE_SHAPE[0]}
    made.globals |= {"VARIANTS": VARIANTS, "REPORT_VARIANTS": REPORT_VARIANTS}
    made.globals |= {"LEAST_ACCURACY": LEAST_ACCURACY, "SIGNIFICANCE": SIGNIFICANCE}
    made.globals["training_flops"] = training_flops
    made.globals["phrases"] = made.get_template("phrases.md.j2").module
    return made
