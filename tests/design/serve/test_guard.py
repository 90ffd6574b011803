"""Only the page of this very server, with its token, is answered."""

import pytest

from mmdiff.design.serve import guard

OWN = guard.hosts(8765)
GOOD = {"host": "127.0.0.1:8765", "content-type": "application/json"}


def refused(headers=(), method="GET", path="/api/jobs", query=""):
    with pytest.raises(guard.Refused) as error:
        guard.check(method, path, query, {**GOOD, **dict(headers)}, OWN)
    return error.value.status


@pytest.mark.parametrize("host", OWN)
def test_the_page_itself_passes(host):
    same = {"origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    for method in guard.METHODS:
        guard.check(method, "/api/jobs", "", {**GOOD, "host": host, **same}, OWN)


def test_a_link_from_elsewhere_opens_the_page_and_nothing_else():
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    guard.check("GET", "/", "token=a", {**GOOD, **link}, OWN)
    assert refused(link) == 403
    assert refused({**link, "sec-fetch-mode": "no-cors"}, path="/") == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8765; a", ""]
)
def test_another_name_that_leads_here_is_refused(host):
    assert refused({"host": host}) == 421


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1:8765", "http://localhost:80"],
)
def test_another_site_is_refused(origin):
    assert refused({"origin": origin}, method="POST") == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_browser_fetches_for_another_site_is_refused(site):
    assert refused({"sec-fetch-site": site}) == 403


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded"],
)
def test_what_a_form_can_send_starts_nothing(kind):
    assert refused({"content-type": kind}, method="POST") == 415


def test_methods_and_lengths_have_limits():
    assert refused(method="TRACE") == 405
    assert refused(path="/" + "a" * 5000) == refused(query="a" * 5000) == 414


def test_the_token_is_taken_from_header_or_own_cookie():
    def is_known(**headers):
        return guard.is_known(headers, "abc", 8765)

    assert is_known(authorization="Bearer abc")
    assert is_known(cookie="x=y; mmdiff-8765=abc")
    for wrong in ("Bearer abcd", "Bearer ", "Basic abc", "abc", "Bearer é"):
        assert not is_known(authorization=wrong)
    for wrong in ("mmdiff-8765=ab", "mmdiff-80=abc", "abc", ""):
        assert not is_known(cookie=wrong)
