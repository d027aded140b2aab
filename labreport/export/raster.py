"""A vector picture as pixels, for formats that have no vectors."""

from pathlib import Path
from tempfile import TemporaryDirectory

from labreport.export.errors import ExportError
from labreport.export.fonts import fonts


def png(svg: bytes, resolution: float = 200) -> bytes:
    """An SVG picture as PNG, ``resolution`` pixels to the inch, drawn by Typst."""
    import typst

    page = '#set page(width: auto, height: auto, margin: 0pt)\n#image("picture.svg")'
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "picture.svg").write_bytes(svg)
        (folder / "page.typ").write_text(page, encoding="utf-8")
        try:
            return typst.compile(
                folder / "page.typ",
                format="png",
                ppi=resolution,
                font_paths=sorted({font.path.parent for font in fonts().values()}),
            )
        except typst.TypstError as error:
            raise ExportError(f"a picture can't be drawn: {str(error).splitlines()[0]}") from None
