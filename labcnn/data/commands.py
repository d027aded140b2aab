"""``labcnn data fetch`` and ``labcnn data status``."""

import time
from typing import Annotated

import typer

from labcnn.data import tiny_imagenet

data_app = typer.Typer(help="Get Tiny ImageNet-200, or see what is there.", no_args_is_help=True)


@data_app.command()
def fetch(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PATH_OR_URL",
            help="An archive (zip, tar, tar.gz), an extracted folder, or the URL of an archive; "
            "without it, the official archive is downloaded (248 MB).",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Do it again.")] = False,
) -> None:
    """Download, check and decode Tiny ImageNet-200 (1.35 GB on disk; for research only)."""
    start = time.monotonic()
    new = tiny_imagenet.fetch(source, force=force)
    data = tiny_imagenet.load()
    state = f"prepared in {time.monotonic() - start:.0f} s" if new else "already prepared"
    typer.echo(f"{tiny_imagenet.NAME}: {state}: {tiny_imagenet.describe(data)}")
    typer.echo(f"in {tiny_imagenet.folder()}" + ("" if new else "; --force does it again"))
    if source and not new:
        typer.echo(f"warning: {source} was not looked at; --force takes it instead", err=True)


@data_app.command()
def status() -> None:
    """Say which data sets are there."""
    typer.echo(f"{tiny_imagenet.NAME}: ", nl=False)
    if tiny_imagenet.prepared():
        data = tiny_imagenet.load()
        typer.echo(f"prepared: {tiny_imagenet.describe(data)}")
        typer.echo(f"  fingerprint {data.fingerprint}")
        size = data.train.images.nbytes + data.test.images.nbytes
        typer.echo(f"  {size / 1e9:.2f} GB in {tiny_imagenet.folder()}")
    else:
        typer.echo(f"absent from {tiny_imagenet.folder()}: run `labcnn data fetch`")
    for path in sorted(tiny_imagenet.downloads_folder().glob("*")):
        typer.echo(f"  download {path}: {path.stat().st_size:,} bytes (may be deleted)")
    typer.echo("shapes: made on demand, nothing to fetch")
