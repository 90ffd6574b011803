"""The 3D viewer of the HTML pages: WebGL2, one fragment shader, no other library.

Cells travel in base64 inside the page, so the page works offline from a file: the
level-set field of the octant with a byte for each sample, or voxels with one bit each,
which the browser smooths. `view.js` draws them on a canvas; a page holds it, with the
controls of one cell, and `view_module` gives it to pages that show several.
"""

import base64
import functools
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

_REACH = 2.0  # spacings: where the bytes of a field end
_CELLS = re.compile(r'<script type="application/json" id="cells">(.*?)</script>', re.S)


def viewer(cells: Sequence[tuple[str, np.ndarray, np.ndarray | None]]) -> str:
    """Return the HTML fragment of a viewer for named cells, first one shown.

    Cells are voxels (nx, ny, nz) and the field (n, n, n) of the octant or None: the
    surface of a field is shown instead of the voxels.

    The styles of the page must give `.viewer canvas` a size. One viewer per page.
    """
    # A name must not end the script element.
    data = json.dumps([pack(*cell) for cell in cells]).replace("<", "\\u003c")
    return (
        f'{_CONTROLS}<script type="application/json" id="cells">{data}</script>\n'
        f'<script>\n(() => {{\n"use strict";\n{_view()}{_SCRIPT}}})();\n</script>\n'
    )


def pack(name: str, cell: np.ndarray, psi: np.ndarray | None) -> dict[str, Any]:
    """Return a cell as `view.js` loads it; arguments see `viewer`."""
    if psi is None:  # z fastest
        kind, shape, data = "bits", cell.shape, np.packbits(cell > 0.5)
    else:
        levels = np.round(127.5 + (127.5 / _REACH) * np.asarray(psi))
        data = levels.clip(0, 255).astype(np.uint8)
        kind, shape = "field", 3 * (2 * len(psi),)
    text = base64.b64encode(data).decode()
    return {"name": name, "shape": [*shape], kind: text}


def cells_of(page: str) -> list[dict[str, Any]]:
    """Return the cells of a page that has a viewer, as `pack` made them; else none."""
    found = _CELLS.search(page)
    return json.loads(found[1]) if found else []


def solid_of(packed: dict[str, Any]) -> tuple[np.ndarray, bool]:
    """Return what `pack` got, binary, and whether that is the octant of a field."""
    name = "field" if "field" in packed else "bits"
    data = np.frombuffer(base64.b64decode(packed[name]), np.uint8)
    if name == "field":
        return data.reshape([edge // 2 for edge in packed["shape"]]) > 127, True
    count = int(np.prod(packed["shape"]))
    return np.unpackbits(data, count=count).reshape(packed["shape"]) > 0, False


def view_module() -> str:
    """Return an ES module that exports `makeView(canvas)`."""
    return f"{_view()}export {{makeView}};\n"


@functools.cache
def _view() -> str:
    return (pathlib.Path(__file__).parent / "view.js").read_text("utf-8")


_CONTROLS = """<div class="viewer">
<canvas id="view" tabindex="0" role="img" aria-label="3D view of the chosen cell. Drag
 or arrow keys rotate, wheel or plus and minus keys zoom."></canvas>
<p id="noview" class="warning" hidden>This browser offers no WebGL2, so the 3D view is
off. The pictures below and the files need none.</p>
<noscript><p class="warning">The 3D view needs JavaScript. The pictures below and the
files need none.</p></noscript>
<form id="controls" onsubmit="return false">
<label>Cell <select id="which"></select></label>
<label>Copies <input id="tiles" type="range" min="1" max="3" step="1" value="1">
<output id="tiles_out">1</output></label>
<label>Cut across <select id="axis">
<option>x</option><option>y</option><option selected>z</option></select></label>
<label>Cut at <input id="cut" type="range" min="0.02" max="1" step="0.01" value="1">
<output id="cut_out">1.00</output></label>
<label>Level <input id="level" type="range" min="0.2" max="0.8" step="0.01" value="0.5">
<output id="level_out">0.50</output></label>
<button id="reset" type="button">Reset view</button>
<small>Drag to turn, wheel or pinch to zoom. Level 0.50 is the cell as written.</small>
</form>
</div>
"""

_SCRIPT = """
const $ = id => document.getElementById(id), view = makeView($("view"));
if (!view) {
  $("view").hidden = $("controls").hidden = true; $("noview").hidden = false; return;
}
const cells = JSON.parse($("cells").textContent);
function update() {
  const [tiles, cut, level] = ["tiles", "cut", "level"].map(id => +$(id).value);
  view.set({tiles, cut, level, axis: $("axis").value});
  $("tiles_out").textContent = tiles;
  $("cut_out").textContent = cut.toFixed(2);
  $("level_out").textContent = level.toFixed(2);
}
$("controls").addEventListener("input", update);
$("which").addEventListener("change", () => view.load(cells[$("which").selectedIndex]));
$("reset").addEventListener("click", () => {
  for (const [id, value] of [["tiles", 1], ["cut", 1], ["level", .5]])
    $(id).value = value;
  view.home(); update();
});
for (const cell of cells) $("which").add(new Option(cell.name));
if (cells.length) view.load(cells[0]);
update();
"""
