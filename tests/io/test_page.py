"""Pages are complete, escaped, offline, and link what they were given."""

import html.parser
import re

import numpy as np

from mmdiff.io.page import CellView, list_files, page

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
        "R&D <cells>",
        tables={"Asked <and> got": rows, "empty": []},
        cells=cells,
        files=["cells.npz", "cell 0.png", ("x&y.vti", 123456), ("loss.png", 2048)],
        notes=["Voigt order <11 22 33>"],
    )


def test_page_is_well_formed_and_escaped():
    text = example()
    checker = Checker(text)
    assert len(set(checker.ids)) == len(checker.ids)
    words = "".join(checker.words)
    for shown in ("R&D <cells>", "<cell 1>", "1 < 2", "Voigt order <11 22 33>"):
        assert shown in words
    assert "Asked <and> got" in words and "empty" not in words
    assert "<cell 1>" not in text and "0.1235" in words and "yes" in words


def test_page_links_all_files_relatively():
    checker = Checker(example())
    links = checker.links
    assert "x%26y.vti" in links and {"a.stl", "cells.npz"} <= set(links)
    # Picture, its link, list of files; that of a cell is shown with the cell alone.
    assert links.count("cell%200.png") == links.count("loss.png") == 3
    assert "123 kB" in checker.words and "2.05 kB" in checker.words


def test_pages_fetch_nothing():
    assert not re.search(r"https?:|//[a-z]|fetch\(|@import|url\(", example())


def test_page_without_cells_has_no_viewer():
    text = page("none")
    Checker(text)
    assert "<canvas" not in text and "<section>" not in text


def test_tables_have_headings_and_columns_of_all_rows():
    text = page("t", tables={"A <6x6>": [{"": "11", "22": 0.25}, {"": "22", "x": 2}]})
    words = Checker(text).words
    assert "A <6x6>" in words and "0.25" in words
    assert words[words.index("A <6x6>") :][1:4] == ["22", "x", "11"]
    # Pairs of name and value need no titles.
    assert "<thead>" not in page("t", tables={"Run": [{"": "wall", "value": 1.5}]})


def test_list_files_sums_folders_and_skips_hidden_ones(tmp_path):
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "deep" / "x").write_bytes(b"12345")
    (tmp_path / "a.txt").write_bytes(b"123")
    (tmp_path / ".lock").write_bytes(b"")
    (tmp_path / "index.html").write_bytes(b"")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "index.html").write_bytes(b"1234")
    # A folder with a page of its own is named by that.
    files = [("a.txt", 3), ("run/index.html", 4), ("sub/", 5)]
    assert list_files(tmp_path) == files
