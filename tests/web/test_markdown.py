"""Markdown of answers: what it shows, and what it must never let through."""

import re

import pytest

from chatd.web.markdown import MAX_MARKDOWN_CHARACTERS, render_markdown

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](java\nscript:alert(1))",
    "[click](&#106;avascript:alert(1))",
    "[click](\x01javascript:alert(1))",
    "[click](vbscript:x)",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    '[x](https://a.example/"onmouseover="alert(1))',
    '[x](<https://a.example/" onmouseover="alert(1)>)',
    '[x](https://a.example "t\\" onmouseover=\\"alert(1)")',
    '![" onerror="alert(1)](https://a.example/x.png)',
    "<javascript:alert(1)>",
    '<https://a.example/"onclick=alert(1)>',
    '```"><script>alert(1)</script>\ncode\n```',
    "```x onload=alert(1)\n</code></pre><script>alert(1)</script>\n```",
    "[a]: javascript:alert(1)\n\n[a]",
    "| <b onclick=alert(1)> |\n| --- |\n| <script> |",
    "# <svg onload=alert(1)>",
    "<!-- --><style>*{}</style>",
    "[x](//evil.example)",
    "[x](/logout)",
]
SAFE_TAG = re.compile(
    r"</?(?:p|h[3-6]|ul|ol|li|em|strong|s|hr|br|blockquote|code|thead|tbody|tr|th|td|table|pre)>"
    r'|<a(?: class="image-link")? href="(?:https?://|mailto:)[^"<>]*" '
    r'rel="noopener noreferrer nofollow" target="_blank">|</a>'
    r'|<pre tabindex="0">|<code class="language-[A-Za-z0-9_+.#-]+">'
    r'|<div class="table-scroll" tabindex="0">|</div>|<ol start="\d+">|<hr />|<br />'
    r'|<t[hd] class="to-(?:left|right|center)">',
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_markdown_yields_only_known_tags_and_attributes(attack: str) -> None:
    rest = SAFE_TAG.sub("", render_markdown(attack))

    assert "<" not in rest
    assert ">" not in rest


def test_web_links_open_without_telling_where_they_come_from() -> None:
    html = render_markdown("[site](https://a.example/?x=1&y=2)")

    assert 'href="https://a.example/?x=1&amp;y=2"' in html
    assert 'rel="noopener noreferrer nofollow"' in html


def test_images_become_links_so_that_nothing_is_loaded() -> None:
    html = render_markdown("![a chart](https://a.example/x.png)")

    assert "<img" not in html
    assert 'href="https://a.example/x.png"' in html
    assert ">a chart</a>" in html


def test_code_names_its_language_and_is_escaped() -> None:
    html = render_markdown("```python\nif a < b: pass\n```")

    assert '<code class="language-python">if a &lt; b: pass' in html


def test_tables_and_strikethrough_are_shown() -> None:
    html = render_markdown("| a |\n| - |\n| ~~b~~ |")

    assert "<table>" in html
    assert "<s>b</s>" in html


def test_columns_are_aligned_by_classes_because_pages_allow_no_styles() -> None:
    html = render_markdown("| a | b | c | d |\n| :- | :-: | -: | - |\n| 1 | 2 | 3 | 4 |")

    for tag, words in (("th", "abcd"), ("td", "1234")):
        left, center, right, plain = words
        assert f'<{tag} class="to-left">{left}</{tag}>' in html
        assert f'<{tag} class="to-center">{center}</{tag}>' in html
        assert f'<{tag} class="to-right">{right}</{tag}>' in html
        assert f"<{tag}>{plain}</{tag}>" in html
    assert "style" not in html


def test_headings_come_below_those_of_the_page() -> None:
    assert render_markdown("# Top\n\n##### Deep") == "<h3>Top</h3>\n<h6>Deep</h6>\n"


def test_a_text_too_long_to_lay_out_is_shown_as_it_is() -> None:
    html = render_markdown("*<b>*" * MAX_MARKDOWN_CHARACTERS)

    assert html.startswith('<p class="plain">*&lt;b&gt;*')
    assert "<em>" not in html
