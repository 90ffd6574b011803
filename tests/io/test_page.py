"""Pages are complete, escaped, offline, and link what they were given."""

import html.parser
import re

import numpy as np

from mmdiff.io.page import CellView, list_files, page, simple_page

VOID = {"meta", "link", "img", "br", "input"}


class Checker(html.parser.HTMLParser):
    """Collects links, ids and text, and checks that elements close in order."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.links, self.ids, self.words = [], [], [], []
        self.feed(text)
        assert not self.stack, self.stack

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.links += [values[k] for k in ("href", "src") if k in values]
        self.ids += [values["id"]] if "id" in values else []
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)


def example():
    cells = [
        CellView(
            "cell 0", np.eye(4)[:, :, None] * np.ones(4), "cell 0.png", ("a.stl",)
        ),
        CellView("<cell 1>", np.ones((4, 4, 4)), caption="1 < 2"),
    ]
    rows = [
        {"": "asked", "C11": 0.11, "ok": None},
        {"": "cell 0", "C11": np.float32(0.123456), "ok": True, "err %": np.nan},
    ]
    return page(
        cells,
        title="R&D <cells>",
        rows=rows,
        files=["cells.npz", ("x&y.vti", 123456)],
        notes=["Voigt order <11 22 33>"],
    )


def test_page_is_well_formed_and_escaped():
    text = example()
    checker = Checker(text)
    assert len(set(checker.ids)) == len(checker.ids)
    words = "".join(checker.words)
    for shown in ("R&D <cells>", "<cell 1>", "1 < 2", "Voigt order <11 22 33>"):
        assert shown in words
    assert "<cell 1>" not in text and "0.1235" in words and "yes" in words


def test_page_links_all_files_relatively():
    links = Checker(example()).links
    assert "cell%200.png" in links and "x%26y.vti" in links
    assert {"a.stl", "cells.npz"} <= set(links)


def test_pages_fetch_nothing():
    for text in (example(), simple_page("a", [("b.png", 1)])):
        assert not re.search(r"https?:|//[a-z]|fetch\(|@import|url\(", text)


def test_page_without_cells_has_no_viewer():
    text = page([], title="none", rows=[])
    Checker(text)
    assert "<canvas" not in text and "<section>" not in text


def test_page_takes_another_heading_and_more_tables():
    tables = {"Tensor <6x6>": [{"": "11", "22": 0.25}]}
    text = page([], title="t", rows=[{"": "K"}], heading="Got", tables=tables)
    words = "".join(Checker(text).words)
    assert "Got" in words and "Asked and got" not in words
    assert "Tensor <6x6>" in words and "0.25" in words


def test_simple_page_shows_pictures_and_summary():
    text = simple_page(
        "a run",
        [("loss.png", 2048), "log.txt", ("runs/", 5_000_000)],
        summary={"wall time": 1.5, "device": "<cpu>"},
    )
    checker = Checker(text)
    assert checker.links.count("loss.png") == 3  # picture, its link, list of files
    words = "".join(checker.words)
    for shown in ("wall time", "1.5", "<cpu>", "2.05 kB", "5 MB"):
        assert shown in words


def test_list_files_sums_folders_and_skips_hidden_ones(tmp_path):
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "deep" / "x").write_bytes(b"12345")
    (tmp_path / "a.txt").write_bytes(b"123")
    (tmp_path / ".lock").write_bytes(b"")
    (tmp_path / "index.html").write_bytes(b"")
    assert list_files(tmp_path) == [("a.txt", 3), ("sub/", 5)]
