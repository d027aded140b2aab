"""The command line: ``labcnn data | variants | doctor``, and the commands of what lies beside.

Each command imports what it needs when it runs, so that ``labcnn --help`` answers at once.
"""

import platform
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from labcnn import __version__
from labcnn.errors import LabError, system_cause
from labcnn.files import fix_folders
from labreport.commands import compare, report
from labsweep.commands import delete, experiments, export, plan, runs, sweep

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
data_app = typer.Typer(help="Get a data set, or see what is there.", no_args_is_help=True)
app.add_typer(data_app, name="data")
LEAST_DISK = 5e9


def print_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        print(f"labcnn {__version__}")
        raise typer.Exit


@app.callback()
def labcnn(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="And end.")
    ] = False,
) -> None:
    """CNN ablations on Tiny ImageNet-200, from notebook to report."""


@data_app.command()
def fetch(
    name: Annotated[
        str, typer.Argument(help="tiny-imagenet-200 or cifar10.")
    ] = "tiny-imagenet-200",
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PATH_OR_URL",
            help="An archive (zip, tar, tar.gz), an extracted folder, or the URL of an archive; "
            "without it, the official archive is downloaded (248 MB; CIFAR-10: 170 MB).",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Do it again.")] = False,
) -> None:
    """Download, check and decode Tiny ImageNet-200 (1.35 GB on disk; for research only).

    Or CIFAR-10 (0.74 GB). One's own pictures need no fetch: dataset=FOLDER takes them.
    """
    from labcnn import data
    from labcnn.data import cache

    start = time.monotonic()
    new = data.fetch(name, source, force=force)
    state = f"prepared in {time.monotonic() - start:.0f} s" if new else "already prepared"
    typer.echo(f"{name}: {state}: {data.describe(name, cache.load(name))}")
    typer.echo(f"in {cache.folder_of(name)}" + ("" if new else "; --force does it again"))
    if source and not new:
        typer.echo(f"warning: {source} was not looked at; --force takes it instead", err=True)


@data_app.command()
def status() -> None:
    """Say which data sets are there."""
    from labcnn.data import cache, describe
    from labcnn.data.archive import downloads_folder

    prepared = cache.list_prepared()
    for name in (*cache.COMMANDS, *(each for each in prepared if each not in cache.COMMANDS)):
        typer.echo(f"{name}: ", nl=False)
        if not cache.is_prepared(name):
            typer.echo(f"absent from {cache.folder_of(name)}: run `{cache.COMMANDS[name]}`")
            continue
        data = cache.load(name)
        typer.echo(f"prepared: {describe(name, data)}")
        typer.echo(f"  fingerprint {data.fingerprint}")
        size = data.train.images.nbytes + data.test.images.nbytes
        typer.echo(f"  {size / 1e6:,.0f} MB in {cache.folder_of(name)}")
    for path in sorted(downloads_folder().glob("*")):
        typer.echo(f"  download {path}: {path.stat().st_size:,} bytes (may be deleted)")
    typer.echo("shapes: made on demand, nothing to fetch")


@app.command()
def variants() -> None:
    """List the networks with their switches, parameters and FLOPs."""
    from rich.console import Console
    from rich.table import Table

    from labcnn.models import model_size
    from labcnn.variants import REPORT_VARIANTS, VARIANTS, label

    table = Table(
        box=None,
        pad_edge=False,
        caption="* in the report; width 32, 200 classes; FLOPs of a forward pass of one image",
        caption_justify="left",
    )
    table.add_column("")
    table.add_column("name", no_wrap=True)
    table.add_column("label", no_wrap=True)
    table.add_column("switches")
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("MFLOPs", justify="right", no_wrap=True)
    for name, variant in VARIANTS.items():
        size = model_size(name)
        table.add_row(
            "*" if name in REPORT_VARIANTS else "",
            name,
            label(name),
            " ".join(variant.switches),
            f"{size.parameters:,}",
            f"{size.flops / 1e6:,.1f}",
        )
    Console().print(table)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    pictures: Annotated[list[Path], typer.Argument(help="Pictures of any size and format.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to list for each.")] = 5,
) -> None:
    """Say what a trained net takes pictures for."""
    from labcnn import load_model

    table = load_model(run).classify(pictures, top)
    for picture, rows in table.groupby("picture", sort=False):
        print(picture)
        for row in rows.itertuples():
            print(f"  {row.probability:7.2%}  {row.class_name}")


@app.command()
def onnx(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    output: Annotated[Path, typer.Argument(help="The file to write, as net.onnx.")],
) -> None:
    """Write a trained net as ONNX, for other programs."""
    from labcnn import load_model

    load_model(run, "cpu").export_onnx(output)
    print(f"{output}: {output.stat().st_size:,} bytes")


def _torch() -> tuple[bool, str]:
    import torch
    import torchvision

    return True, f"{torch.__version__}, torchvision {torchvision.__version__}"


def _device() -> tuple[bool, str]:
    from labcnn.training.hardware import choose_hardware

    found = choose_hardware()
    native = found.precision == "bf16"
    bf16 = "trains in bf16" if native else "bf16 is no faster here: trains in fp32"
    return native, f"{found.device} ({found.name}), {found.threads} threads, {bf16}"


def _fonts() -> tuple[bool, str]:
    import importlib.metadata

    version = importlib.metadata.version("pylopdf-fonts-zh-cn")
    return True, f"Noto Sans SC and Noto Serif SC (pylopdf-fonts-zh-cn {version})"


def _data() -> tuple[bool, str]:
    from labcnn.data import cache, tiny_imagenet

    if cache.is_prepared(tiny_imagenet.NAME):
        return True, f"tiny-imagenet-200 is prepared in {cache.folder_of(tiny_imagenet.NAME)}"
    return False, "tiny-imagenet-200 isn't prepared (`labcnn data fetch`); shapes needs nothing"


def _disk() -> tuple[bool, str]:
    from labcnn.files import data_folder

    folder = data_folder()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return free > LEAST_DISK, f"{free / 1e9:.0f} GB free at {there}"


#: Each says whether all is there, and what is.
CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {
    "python": lambda: (True, f"{platform.python_version()} on {platform.platform()}"),
    "torch": _torch,
    "device": _device,
    "fonts": _fonts,
    "data": _data,
    "disk": _disk,
}


@app.command()
def doctor() -> None:
    """Say what this machine and this installation have."""
    for name, check in CHECKS.items():
        try:
            good, text = check()
        except Exception as error:
            good, text = False, f"{type(error).__name__}: {error}".splitlines()[0]
        print(f"{'ok  ' if good else 'warn'}  {name:7s} {text}")


for command in (plan, sweep, runs, experiments, compare, report, export, delete):
    app.command()(command)


def main() -> None:
    """Run the command line; an error meant for people is one line, and exit code 2."""
    try:
        fix_folders()
        app()
    except Exception as error:
        line = str(error) if isinstance(error, LabError) else system_cause(error)
        if not line:
            raise
        print(f"labcnn: {line}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
