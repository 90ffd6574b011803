"""The page a run ends with: plain HTML that opens from disk, offline, on any screen.

Tables, cells in a 3D viewer, pictures, notes and links to all files. It fetches nothing
and escapes whatever it is given.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

import numpy as np

from mmdiff.io.viewer import viewer

_PICTURES = (".png", ".gif", ".jpg", ".svg")


@dataclasses.dataclass(frozen=True)
class CellView:
    """One cell (nx, ny, nz) of a page, with picture and files relative to the page."""

    name: str
    voxels: np.ndarray
    picture: str | None = None
    files: Sequence[str] = ()
    caption: str = ""
    psi: np.ndarray | None = None  # field of its octant: the viewer shows its surface


def page(
    title: str,
    *,
    tables: Mapping[str, Sequence[Mapping]] | None = None,
    cells: Sequence[CellView] = (),
    notes: Sequence[str] = (),
    files: Sequence[str | tuple[str, int]] = (),
) -> str:
    """Return one self-contained HTML page.

    Tables are rows by heading; columns are all keys in order of first appearance, the
    first one names the row. The first of the cells is in the viewer. Files are names
    relative to the page, or pairs of `list_files`; pictures that no cell has are shown.
    """
    shown = viewer([(c.name, c.voxels, c.psi) for c in cells]) if cells else ""
    names = [entry if isinstance(entry, str) else entry[0] for entry in files]
    known = {cell.picture for cell in cells}
    pictures = [n for n in names if n.lower().endswith(_PICTURES) and n not in known]
    sections = [(name, _table(rows)) for name, rows in (tables or {}).items()]
    sections += [
        ("In three dimensions", shown),
        ("Cells", _figures(cells)),
        ("Pictures", "".join(f"<figure>{_picture(p)}</figure>" for p in pictures)),
        ("Notes", "".join(f"<p>{escape(note)}</p>" for note in notes)),
        ("Files", _file_list(files)),
    ]
    body = "".join(
        f"<section><h2>{escape(heading)}</h2>{content}</section>\n"
        for heading, content in sections
        if content
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><main><h1>{escape(title)}</h1>\n"
        f"{body}</main></body></html>\n"
    )


def list_files(
    folder: str | os.PathLike, own: str = "index.html"
) -> list[tuple[str, int]]:
    """Return names and bytes of what lies in a folder, but for the page itself.

    A subfolder is one entry; one with a page of its own is named by that.
    """
    entries = []
    for path in sorted(pathlib.Path(folder).iterdir()):
        if path.name.startswith(".") or path.name == own:
            continue
        if path.is_dir():
            size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
            index = "index.html" if (path / "index.html").is_file() else ""
            entries.append((f"{path.name}/{index}", size))
        else:
            entries.append((path.name, path.stat().st_size))
    return entries


def _table(rows: Sequence[Mapping]) -> str:
    if not rows:
        return ""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = columns != ["", "value"]  # pairs of name and value need no titles
    top = "".join(f'<th scope="col">{escape(str(c))}</th>' for c in columns)
    body = []
    for row in rows:
        first, *rest = (_value(row.get(column)) for column in columns)
        cells = "".join(f"<td>{value}</td>" for value in rest)
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="wide"><table>{top}<tbody>{"".join(body)}</tbody></table></div>'


def _value(value) -> str:
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def _link(name: str) -> str:
    return f'<a href="{quote(name)}">{escape(name)}</a>'


def _picture(name: str, alt: str = "") -> str:
    alt = escape(alt or name, quote=True)
    link = quote(name)
    return f'<a href="{link}"><img loading="lazy" src="{link}" alt="{alt}"></a>'


def _figures(cells: Sequence[CellView]) -> str:
    figures = []
    for cell in cells:
        alt = f"picture of {cell.name}"
        image = _picture(cell.picture, alt) if cell.picture else ""
        links = " ".join(_link(name) for name in cell.files)
        lines = (f"<b>{escape(cell.name)}</b>", escape(cell.caption), links)
        caption = "<br>".join(filter(None, lines))
        figures.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="cells">{"".join(figures)}</div>' if figures else ""


def _file_list(files: Sequence[str | tuple[str, int]]) -> str:
    items = []
    for entry in files:
        name, size = (entry, None) if isinstance(entry, str) else entry
        note = "" if size is None else f" <small>{_size(size)}</small>"
        items.append(f"<li>{_link(name)}{note}</li>")
    return f'<ul class="files">{"".join(items)}</ul>' if items else ""


def _size(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


_STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfb; --ink: #22262c; --soft: #667080;
  --line: #dfe2e6; --accent: #2f62a3; --warn: #fdf1d8; }
@media (prefers-color-scheme: dark) { :root { --paper: #1c1f24; --ink: #e4e6e9;
  --soft: #9aa3af; --line: #3a4049; --accent: #84b2ec; --warn: #4a3d1c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.2rem 1rem 4rem; }
h1 { font-size: 1.6rem; font-weight: 600; margin: .5rem 0 1rem; }
h2 { font-size: 1.1rem; font-weight: 600; margin: 2.2rem 0 .6rem; }
a { color: var(--accent); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 500; }
.viewer canvas { display: block; width: 100%; height: min(34rem, 80vw); cursor: grab;
  touch-action: none; border: 1px solid var(--line); border-radius: 6px; }
.viewer canvas[hidden] { display: none; }
.viewer form { display: flex; flex-wrap: wrap; gap: .5rem 1.3rem; margin-top: .7rem;
  align-items: center; }
.viewer form[hidden] { display: none; }
.viewer label { display: flex; align-items: center; gap: .45rem; }
.viewer input { width: 8rem; accent-color: var(--accent); }
.viewer output { min-width: 2.2rem; font-variant-numeric: tabular-nums; }
select, button { font: inherit; padding: .15rem .5rem; }
small { color: var(--soft); font-size: .875rem; }
.warning { background: var(--warn); padding: .7rem 1rem; border-radius: 6px; }
.cells { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
figure { margin: 0; }
section > figure { margin-bottom: 1rem; }
figure img { max-width: 100%; height: auto; border-radius: 6px; }
figcaption { font-size: .875rem; color: var(--soft); overflow-wrap: anywhere; }
figcaption b { color: var(--ink); }
.files { columns: 16rem; padding-left: 1.2rem; }
.files li { break-inside: avoid; }
"""
