"""What the tests of pages trust in: that their browser sees requests and errors."""

import numpy as np
from PIL import Image


def _write(path, body):
    path.write_text(f"<!doctype html><meta charset='utf-8'><title>t</title>{body}")
    return path


def test_a_page_that_is_alone_asks_for_nothing(browser, tmp_path):
    browser.open(_write(tmp_path / "page.html", "<img alt='' src='data:image/gif;base64,R0lGOD'>"))
    assert browser.requests() == [] and browser.errors() == []


def test_requests_and_errors_are_seen(browser, tmp_path):
    body = "<script src='other.js'></script><script>throw new Error('mine')</script>"
    browser.open(_write(tmp_path / "page.html", body))
    assert browser.requests() == [(tmp_path / "other.js").as_uri()]
    assert any("mine" in error for error in browser.errors())
    browser.open(_write(tmp_path / "next.html", ""))  # which is not to blame
    assert browser.requests() == [] and browser.errors() == []


def test_what_a_policy_forbids_is_an_error(browser, tmp_path):
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
    browser.open(_write(tmp_path / "page.html", f"{policy}<img alt='' src='https://x.invalid/a'>"))
    assert any("x.invalid" in error for error in browser.errors())


def test_screenshots_have_their_size_and_colours(browser, tmp_path):
    style = (
        "<style>body { margin: 0; height: 1500px; background: #fff }"
        "@media (prefers-color-scheme: dark) { body { background: #000 } }</style>"
    )
    browser.open(_write(tmp_path / "page.html", style))
    for dark, size, value in ((False, (400, 300), 255), (True, (1600, 900), 0)):
        browser.screenshot(tmp_path / "page.png", *size, dark=dark)
        with Image.open(tmp_path / "page.png") as image:
            assert image.size == size
            assert (np.asarray(image.convert("RGB")) == value).all()
    browser.screenshot(tmp_path / "page.png", 400)
    with Image.open(tmp_path / "page.png") as image:
        assert image.size == (400, 1500)
