"""A report's page: what is text stays text, what is shown is inside the file."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from cifar_lab.errors import InputError
from cifar_lab.report import page as html


def draw(figure):
    axes = figure.subplots()
    axes.plot([0, 1, 2], [3, 4, 5], label="<script>train</script>")
    axes.set_xlabel("epoch & more")
    axes.legend()


def test_text_is_escaped_and_markup_is_not():
    found = html.paragraph("<script>", html.element("b", "a & b"), class_='x"y')
    assert found == '<p class="x&quot;y">&lt;script&gt;<b>a &amp; b</b></p>'


def test_a_page_is_whole_and_asks_for_nothing(tmp_path):
    page = html.Page("<script>alert(1)</script>", html.paragraph("lead"))
    page.add("What it sees", html.chart(draw, 'a "curve"'), html.note("a < b"))
    page.add("Nothing")
    assert page.write(tmp_path / "a.html") == (tmp_path / "a.html").stat().st_size
    content = (tmp_path / "a.html").read_text("utf-8")
    assert "<script" not in content and "&lt;script&gt;alert(1)&lt;/script&gt;" in content
    assert "default-src 'none'" in content.replace("&#x27;", "'")
    assert re.findall(r'<section id="([^"]+)"', content) == ["what-it-sees"]
    assert re.findall(r'href="([^"]+)"', content).count("#what-it-sees") == 1
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', content)
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]


def test_a_page_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"nowhere/a.html: cannot be written \(No such file"):
        html.Page("x").write(tmp_path / "nowhere" / "a.html")


def test_a_chart_takes_the_ink_of_the_page_and_names_no_ids_twice():
    twice = html.chart(draw, 'a "curve"', "below") + html.chart(draw, "another", width=5)
    assert 'aria-label="a &quot;curve&quot;"' in twice and "<figcaption>below<" in twice
    assert "currentColor" in twice and "var(--line)" in twice
    assert "epoch &amp; more" in twice and "<script" not in twice  # text stays text
    assert "#010203" not in twice and "#040506" not in twice and "xmlns" not in twice
    assert "DejaVu" not in twice and 'pt"' not in twice
    names = re.findall(r' id="([^"]+)"', twice)
    assert len(names) == len(set(names)) > 4
    assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", twice)) == set(names)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3)])
def test_a_picture_has_its_pixels(shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    found = html.picture(pixels, "numbers", width=60)
    assert 'alt="numbers" width="60" height="40"' in found
    data = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]+)"', found)[1])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels.squeeze())


def test_a_table_sets_numbers_to_the_right():
    found = html.table(["class", "n"], [["<i>", 3], ["b", None], ["c", "< 0.1"]], "of all")
    assert "<caption>of all</caption>" in found
    assert '<td>&lt;i&gt;</td><td class="number">3</td>' in found
    assert '<td>b</td><td class="number"></td>' in found
    assert '<td>c</td><td class="number">&lt; 0.1</td>' in found
