"""What `mkdocs build` does beyond the pages of docs/: pages from elsewhere, formulas.

The README is the first page; cards, changelog and notebooks are pages too, from where
they lie. Links between files of the clone become links of the site; a file that is no
page is copied below source/. Formulas become MathML, which browsers draw themselves.
"""

import html
import json
import os
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "mmdiff/assets/MODEL_CARD.md": "cards/model.md",
    "mmdiff/assets/REGRESSOR_CARD.md": "cards/regressor.md",
    "mmdiff/assets/cells64/DATASET_CARD.md": "cards/dataset.md",
} | {
    f"experiments/notebooks/{path.name}": f"notebooks/{path.stem}.md"
    for path in (ROOT / "experiments" / "notebooks").glob("*.ipynb")
}
ORIGINS = {page: name for name, page in PAGES.items()}
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
# Names of files in `code`, which the site links: experiments/notebooks/NAME.ipynb.
NOTEBOOK = re.compile(r"`(experiments/notebooks/(\w+)\.ipynb)`")
FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL
)


def on_files(files, config):
    """Add the pages from elsewhere, and the files that pages link to."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text("utf-8")
        text = from_notebook(text) if name.endswith(".ipynb") else without_head(text)
        files.append(File.generated(config, page, content=text))
    known = {file.src_uri for file in files}
    for file in files.documentation_pages():
        for _, target, _ in LINK.findall(file.content_string):
            place = in_site(file.src_uri, target)
            if place and place.startswith("source/") and place not in known:
                path = str(ROOT / place.removeprefix("source/"))
                files.append(File.generated(config, place, abs_src_path=path))
                known.add(place)
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links between files of the clone into links of the site."""
    here = os.path.dirname(page.file.src_uri)

    def replaced(found):
        place = in_site(page.file.src_uri, found[2])
        target = os.path.relpath(place, here) if place else found[2]
        return f"{found[1]}{target}{found[3]}"

    def linked(found):
        target = os.path.relpath(PAGES[found[1]], here)
        return f"[`{found[1]}`]({target})"

    return NOTEBOOK.sub(linked, LINK.sub(replaced, markdown))


def on_page_content(content, page, config, files):
    """Turn formulas into MathML."""
    return FORMULA.sub(as_mathml, content)


def in_site(page, target):
    """Return where a linked file of the clone lies in the site, None for other links.

    Args:
      page: the page with the link, in the site.
      target: as it stands in the page, without a fragment.
    """
    origin = ROOT / ORIGINS.get(page, f"docs/{page}")
    path = Path(os.path.normpath(origin.parent / target))
    if "://" in target or not path.is_file() or not path.is_relative_to(ROOT):
        return None
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("docs/") and path.suffix != ".py":
        return name.removeprefix("docs/")
    return PAGES.get(name, f"source/{name}")


def as_mathml(found):
    """Return the MathML of a formula, kept as TeX for those who copy it."""
    display = "block" if found[1] == "div" else "inline"
    tex = html.unescape(found[2]).strip()
    formula = convert(tex, display=display)
    title = html.escape(tex, quote=True)
    return f'<{found[1]} class="formula" title="{title}">{formula}</{found[1]}>'


def without_head(text):
    """Return a page without the head that hubs of models read."""
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)


def from_notebook(text):
    """Return a notebook as a page."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        code = cell["cell_type"] == "code"
        parts.append(f"```python\n{source}\n```" if code else source)
    return "\n\n".join(parts) + "\n"
