"""One progress bar for downloads and decoding."""

import sys

from tqdm import tqdm


def progress_bar(description: str, unit: str, total: int) -> tqdm:
    """A bar on the terminal; a line every ten seconds where the output goes into a file."""
    return tqdm(
        desc=description,
        total=total,
        unit=unit,
        unit_scale=True,
        file=sys.stderr,
        delay=0.3,  # nothing to see of what fails or ends at once
        mininterval=0.2 if sys.stderr.isatty() else 10,
    )
