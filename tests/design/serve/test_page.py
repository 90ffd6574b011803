"""The page in a browser: it is used with the keyboard, on wide and narrow screens."""

import importlib.util
import re
import shutil

import numpy as np
import pytest
import serve_helpers
from serve_helpers import TOKEN, ask

from mmdiff.design.serve import job as jobs
from mmdiff.io.viewer import pack

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="needs Playwright"
    ),
    # of Playwright's own event loop
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SIZES = {"wide": (1400, 900), "narrow": (420, 800)}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
    options.append("--enable-unsafe-swiftshader")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield found
        found.close()


@pytest.fixture
def running(tmp_path):
    with serve_helpers.served(tmp_path) as (state, port):
        serve_helpers.make_finished(state)
        yield state, port


@pytest.fixture
def open_page(browser, running):
    """Return the page of a size, with all that the browser complains of."""
    _, port = running
    contexts, problems = [], []

    def opened(size="wide"):
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda message: (
                problems.append(message.text) if message.type == "error" else None
            ),
        )
        page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
        page.wait_for_selector("#history li")
        page.wait_for_selector("#cards .card")
        return page

    yield opened
    for context in contexts:
        context.close()
    # Pictures that the finished job of the tests lacks, and what tests ask wrongly.
    assert [text for text in problems if not re.search("40[04]", text)] == []


@pytest.mark.parametrize("size", SIZES)
def test_everything_fits_on_the_screen(open_page, size):
    page = open_page(size)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= SIZES[size][0]
    assert TOKEN not in page.url
    small = page.evaluate(
        """[...document.querySelectorAll("button, select, input:not([type=radio])")]
        .filter(e => e.offsetParent && e.getBoundingClientRect().height < 12
          && e.type != "range").map(e => e.id || e.textContent)"""
    )
    assert small == []


def test_every_control_has_a_name(open_page):
    page = open_page()
    unnamed = page.evaluate(
        """[...document.querySelectorAll("input, select, textarea, button, canvas")]
        .filter(e => !(e.labels?.length || e.getAttribute("aria-label")
          || e.textContent.trim())).map(e => e.id || e.outerHTML)"""
    )
    assert unnamed == []


def pixels(page, selector):
    """Return how many colours a canvas shows."""
    return page.evaluate(
        """async selector => {
          const canvas = document.querySelector(selector);
          const copy = document.createElement("canvas");
          [copy.width, copy.height] = [64, 64];
          const g = copy.getContext("2d");
          await new Promise(requestAnimationFrame);
          await new Promise(requestAnimationFrame);
          g.drawImage(canvas, 0, 0, 64, 64);
          const data = g.getImageData(0, 0, 64, 64).data;
          return new Set(Array.from({length: 4096}, (_, i) =>
            data.slice(4 * i, 4 * i + 4).join())).size;
        }""",
        selector,
    )


def test_plots_and_surfaces_are_drawn(open_page):
    page = open_page()
    for selector in ("#plot_a", "#plot_b", "#polar", ".card canvas.modulus"):
        assert pixels(page, selector) > 10, selector


def test_sliders_change_the_target_and_the_server_checks_it(open_page):
    page = open_page()
    page.wait_for_selector("#verdict.good")
    page.fill("#n_C11", "0.9")
    page.wait_for_selector("#verdict.bad")
    assert "exceeds the Hashin-Shtrikman limit" in page.inner_text("#verdict")
    page.fill("#n_C11", "0.11")
    page.wait_for_selector("#verdict.good")
    slider = page.locator("#volume input[type=range]")
    slider.focus()
    page.keyboard.press("End")
    assert page.input_value("#n_V") == "0.98"
    page.wait_for_selector("#plot_a[aria-label*='at 0.980']")


def test_a_target_keeps_its_values_from_one_way_to_say_it_to_another(open_page):
    page = open_page()
    page.wait_for_selector("#verdict.good")
    page.check("input[value=moduli]", force=True)
    assert float(page.input_value("#n_zener")) == pytest.approx(0.08 / 0.065, rel=1e-3)
    page.wait_for_selector("#verdict.good")
    page.check("input[value=tensor]", force=True)
    rows = page.input_value("#tensor").splitlines()
    numbers = np.array([row.split() for row in rows], float)
    assert numbers.shape == (6, 6)
    np.testing.assert_allclose(np.diag(numbers), [0.11] * 3 + [0.04] * 3, rtol=1e-3)
    page.fill("#tensor", "1 2 3")
    page.wait_for_selector("#verdict.bad")


def test_a_point_of_the_plot_is_asked_for(open_page):
    page = open_page()
    page.check("input[value=moduli]", force=True)
    page.wait_for_selector("#verdict.good")
    before = [page.input_value(name) for name in ("#n_V", "#n_E")]
    box = page.locator("#plot_a").bounding_box()
    page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"])
    after = [page.input_value(name) for name in ("#n_V", "#n_E")]
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_a_job_is_followed_until_its_cells_are_there(open_page, running):
    state, _ = running
    page = open_page()
    page.fill("#num_best", "2")
    page.locator("#go").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#history li >> nth=1")
    job = state.next_job()
    assert job.given["num_best"] == 2 and job.given["target"] == "0.11,0.045,0.04"
    page.wait_for_selector("#job_title:has-text('Job 2')")
    state.change(job, progress={"share": 0.5, "text": "moving surfaces: 1 of 2"})
    page.wait_for_selector("#progress_text:has-text('1 of 2')")
    cell = serve_helpers.cell(0)
    view = pack("", np.ones((16, 16, 16)), np.ones((8, 8, 8)))
    job.cells.append({**cell, "view": view})
    state.tell("cell", {"job": job.id, "cell": job.cells[0]})
    page.wait_for_selector("#picks button:has-text('cell 0')")
    serve_helpers.write_finished(job.folder)
    state.change(job, state=jobs.FINISHED, seconds=3.0)
    page.wait_for_selector("#at_work", state="hidden")
    page.wait_for_selector("#picks button:has-text('cell 1')")
    assert page.locator("#cards .card").count() == 2
    assert "--config.num_best=2" in page.inner_text("#job_links code")


def test_cells_are_compared_and_painted_and_downloaded(open_page):
    page = open_page()
    assert page.locator("#cards .card").count() == 2
    page.click("#picks button >> nth=1")
    assert page.locator("#cards .card").count() == 1
    page.click("#picks button >> nth=1")
    head = page.inner_text("#table thead")
    assert "asked" in head and "cell 1" in head
    page.fill("#direction", "1 1 1")
    assert "E along [1 1 1]" in page.inner_text("#table")
    page.fill("#direction", "1 1")
    assert page.get_attribute("#direction", "aria-invalid") == "true"
    with page.expect_response(lambda r: "/walls/" in r.url) as response:
        page.check("#paint")
    assert response.value.ok
    assert "red: thinner than 0.3 mm" in page.inner_text("#legend")
    with page.expect_download() as download:
        page.click("#cards .links a >> nth=0")
    assert download.value.suggested_filename == "0001_cell_00.stl"


def test_a_job_is_cancelled_and_a_file_refused_on_the_page(
    open_page, running, tmp_path
):
    state, _ = running
    page = open_page()
    page.click("#go")
    page.wait_for_selector("#history li >> nth=1")
    page.click("#history button[aria-label='Cancel: job 2']")
    page.wait_for_selector("#history li:has-text('cancelled')")
    bad = tmp_path / "cell.exe"
    bad.write_bytes(b"MZ")
    page.set_input_files("#file", str(bad))
    page.wait_for_selector("#file_refused:has-text('unknown format')")
    good = tmp_path / "<b>cell.npy"
    np.save(good, np.ones((8, 8, 8), np.uint8))
    page.set_input_files("#file", str(good))
    page.wait_for_selector("#history li:has-text('<b>cell.npy')")
    assert state.find(3).kind == "homogenize"


def test_the_page_says_when_the_server_is_gone(browser, tmp_path):
    with serve_helpers.served(tmp_path) as (state, port):
        serve_helpers.make_finished(state)
        page = browser.new_context().new_page()
        page.set_default_timeout(60_000)
        page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
        page.wait_for_selector("#history li")
    page.wait_for_selector("#link.lost:has-text('does not answer')")
    page.context.close()


def test_the_page_of_a_run_works_under_its_policy(browser, running):
    _, port = running
    page = browser.new_context().new_page()
    problems = []
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
    page.goto(f"http://127.0.0.1:{port}/jobs/1/index.html")
    assert page.locator("#which option").count() == 2
    assert [text for text in problems if "404" not in text] == []
    assert ask(port, "GET", "/jobs/1/index.html")[0] == 200
    page.context.close()
