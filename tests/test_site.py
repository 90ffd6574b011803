"""The site: built without a warning; links lead somewhere, nothing is loaded."""

import html.parser
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

import mmdiff as mm

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers", "latex2mathml")


def _load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_has_its_entry():
    text = (ROOT / "docs" / "api.md").read_text().partition("## To build on")[0]
    entries = re.findall(r"^::: mmdiff\.(\w+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted(mm.__all__)


def test_every_page_and_notebook_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    folder = ROOT / "experiments" / "notebooks"
    pages |= {f"notebooks/{path.stem}.md" for path in folder.glob("*.ipynb")}
    listed = re.findall(r"[\w/]+\.md$", text, re.MULTILINE)
    assert pages <= set(listed) and len(listed) == len(set(listed))


def test_numbers_of_the_gallery_are_those_of_the_dataset():
    gallery = _load("gallery")
    data = mm.load_dataset()
    text = (ROOT / "docs" / "gallery.md").read_text()
    lines = [gallery.line(data, *cell) for cell in gallery.choose(data)]
    assert "\n" + "\n".join(lines) + "\n" in text
    assert gallery.HEAD in text and gallery.TAIL in text


class Page(html.parser.HTMLParser):
    """The names of a page's places, its links, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.places, self.links, self.loads = set(), [], []
        self.formulas = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.formulas += tag == "math"
        self.places |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag in ("script", "img", "iframe", "source") and values.get("src"):
            self.loads.append(values["src"])
        if tag == "link" and values.get("rel") != "canonical" and values.get("href"):
            self.loads.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site; return its folder and its pages by path."""
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the site is built with {package}")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    paths = folder.rglob("*.html")
    return folder, {path: Page(path.read_text("utf-8")) for path in paths}


@pytest.mark.slow
def test_links_and_places_exist(site):
    folder, pages = site
    missing, checked = [], 0
    for path, page in pages.items():
        if path.name == "404.html":  # its links are absolute, for any depth
            continue
        for link in [*page.links, *page.loads]:
            if re.match(r"[a-z]+:", link):
                continue
            target, _, place = link.partition("#")
            file = Path(os.path.normpath(path.parent / unquote(target)))
            file = path if not target else file
            file = file / "index.html" if file.is_dir() else file
            found = file.is_file() and file.is_relative_to(folder)
            if place and found and file in pages:
                found = unquote(place) in pages[file].places
            missing += [] if found else [f"{path.relative_to(folder)}: {link}"]
            checked += 1
    assert not missing
    assert checked > 1000 and len(pages) > 25


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site):
    folder, pages = site
    loads = [link for page in pages.values() for link in page.loads]
    assert loads and not [link for link in loads if "//" in link]
    assert not [p for p in folder.rglob("*.css") if "url(http" in p.read_text("utf-8")]


@pytest.mark.slow
def test_formulas_are_drawn_by_the_browser(site):
    folder, pages = site
    theory = folder / "theory" / "index.html"
    written = (ROOT / "docs" / "theory.md").read_text().replace("$$", "$")
    assert pages[theory].formulas == written.count("$") // 2 > 60
    assert 'class="arithmatex"' not in theory.read_text("utf-8")


@pytest.mark.slow
def test_docstrings_are_pages(site):
    folder, pages = site
    api = folder / "api" / "index.html"
    assert {f"mmdiff.{name}" for name in mm.__all__} <= pages[api].places
    text = api.read_text("utf-8")
    assert "Examples:" in text and "<blockquote>" not in text
