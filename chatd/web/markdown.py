"""Markdown of answers to safe HTML, rendered once on the server.

Raw HTML is shown as text, only web and mail links become links, and images become links, so that
reading an answer never loads anything from elsewhere.
"""

import re
from collections.abc import MutableMapping, Sequence
from typing import Any

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

MAX_MARKDOWN_CHARACTERS = 200_000
"""Longer texts are shown as they are: laying out that much Markdown would hold up the page."""

_LINK = re.compile(r"^(?:https?://|mailto:)", re.IGNORECASE)
_LANGUAGE = re.compile(r"^[A-Za-z0-9_+.#-]{1,40}$")
_ALIGNMENT = re.compile(r"text-align:(left|right|center)")
_REL = "noopener noreferrer nofollow"
_HEADING_SHIFT = 2
"""The page has h1 and h2 itself; the headings of an answer come below them."""


def render_markdown(text: str) -> SafeString:
    """Return `text` as HTML that is safe to show."""
    if len(text) > MAX_MARKDOWN_CHARACTERS:
        return format_html('<p class="plain">{}</p>', text)
    return SafeString(_renderer.render(text))


def is_safe_link(url: str) -> bool:
    """Return whether `url` may become a link: http, https or mail, nothing relative."""
    return bool(_LINK.match(url))


def _link_open(
    renderer: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: MutableMapping[str, Any],
) -> str:
    href = escape(str(tokens[index].attrGet("href") or ""))
    return f'<a href="{href}" rel="{_REL}" target="_blank">'


def _image(
    renderer: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: MutableMapping[str, Any],
) -> str:
    source = escape(str(tokens[index].attrGet("src") or ""))
    label = escape(tokens[index].content or "image")
    return f'<a class="image-link" href="{source}" rel="{_REL}" target="_blank">{label}</a>'


def _code(
    renderer: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: MutableMapping[str, Any],
) -> str:
    words = tokens[index].info.split()
    language = words[0] if words and _LANGUAGE.match(words[0]) else ""
    css_class = f' class="language-{escape(language)}"' if language else ""
    code = escape(tokens[index].content)
    return f'<pre tabindex="0"><code{css_class}>{code}</code></pre>\n'


def _table_open(
    renderer: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: MutableMapping[str, Any],
) -> str:
    return '<div class="table-scroll" tabindex="0"><table>\n'


def _table_close(
    renderer: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: MutableMapping[str, Any],
) -> str:
    return "</table></div>\n"


def _cell_open(
    renderer: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: MutableMapping[str, Any],
) -> str:
    """Open a cell; its alignment is a class, because pages allow no styles in their HTML."""
    tag = tokens[index].tag
    side = _ALIGNMENT.fullmatch(str(tokens[index].attrGet("style") or ""))
    return f'<{tag} class="to-{side[1]}">' if side else f"<{tag}>"


def _heading(
    renderer: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: MutableMapping[str, Any],
) -> str:
    level = min(int(tokens[index].tag[1:]) + _HEADING_SHIFT, 6)
    return f"<h{level}>" if tokens[index].nesting == 1 else f"</h{level}>\n"


class _SafeMarkdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - overrides
        return is_safe_link(url)


def _build() -> MarkdownIt:
    markdown = _SafeMarkdown("commonmark", {"html": False, "linkify": True})
    markdown.enable(["table", "strikethrough", "linkify"])
    rules = {
        "link_open": _link_open,
        "image": _image,
        "fence": _code,
        "code_block": _code,
        "table_open": _table_open,
        "table_close": _table_close,
        "th_open": _cell_open,
        "td_open": _cell_open,
        "heading_open": _heading,
        "heading_close": _heading,
    }
    for name, rule in rules.items():
        markdown.add_render_rule(name, rule)
    return markdown


_renderer = _build()
