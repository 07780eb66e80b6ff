"""Markdown of cards and datasheets as safe HTML: raw HTML is shown as text, and what is left passes an allow-list."""

import nh3
from django import template
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

register = template.Library()
_reader = MarkdownIt("commonmark", {"html": False}).enable("table")


@register.filter
def markdown(text: str) -> SafeString:
    """Return the text as HTML; headings move one level down, since the page has its own title, front matter is cut."""
    text = text or ""
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]
    tokens = _reader.parse(text)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    html = nh3.clean(_reader.renderer.render(tokens, _reader.options, {}), link_rel="noopener noreferrer nofollow")
    # A table that is wider than a phone scrolls by itself, by touch and by keyboard, and not the page.
    html = html.replace("<table>", '<div class="table-wrap" tabindex="0"><table>').replace("</table>", "</table></div>")
    return mark_safe(html)  # noqa: S308 - cleaned by nh3; the wrapper holds no text of others
