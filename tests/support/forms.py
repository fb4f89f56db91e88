"""Forms of pages, as a browser would send them."""

from html.parser import HTMLParser


def fields_of_form(html: str, form_id: str = "") -> dict[str, str]:
    """Return the names and values that a browser would send of a form, else of all of them."""
    return _Fields(html, form_id).sent


class _Fields(HTMLParser):
    def __init__(self, html: str, form_id: str) -> None:
        super().__init__()
        self.sent: dict[str, str] = {}
        self._form_id = form_id
        self._inside = not form_id
        self._select = self._text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form" and self._form_id:
            self._inside = found.get("id") == self._form_id
        name = found.get("name", "")
        if not self._inside or "disabled" in found:
            return
        if tag == "textarea":
            self._text, self.sent[name] = name, ""
        elif tag == "select":
            self._select, self.sent[name] = name, ""
        elif tag == "option" and "selected" in found:
            self.sent[self._select] = found.get("value", "")
        elif tag == "input" and name and (found.get("type") != "checkbox" or "checked" in found):
            self.sent[name] = found.get("value", "on" if "checked" in found else "")

    def handle_data(self, text: str) -> None:
        if self._text:
            # A browser drops the first newline and sends the others as it does everywhere.
            self.sent[self._text] = text.removeprefix("\n").replace("\n", "\r\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._text = ""
