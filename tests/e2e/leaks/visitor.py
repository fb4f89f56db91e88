"""Somebody with a browser and a token, who keeps everything that comes back."""

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.support.product import Web

_LINK = re.compile(r'(?:href|action|src)="([^"]+)"')
_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')

_KEPT_BY_BROWSERS = ("sessionid", "csrftoken", "mcp_oauth2_")
"""Cookies whose value is a secret that the browser is given to keep."""


@dataclass
class Visitor:
    """`name` tells visitors apart; `seen` has each answer by what was asked."""

    name: str
    web: Web
    token: str = ""
    seen: dict[str, str] = field(default_factory=dict)
    session: requests.Session = field(default_factory=requests.Session)

    def api(
        self, method: str, path: str, body: Any = None, *, keep: bool = True, **headers: str
    ) -> Any:
        """Return the decoded answer, whatever its status. `keep=False`: it shows a secret."""
        if self.token:
            headers["Coder-Session-Token"] = self.token
        answer = requests.request(
            method, self.web.url + path, json=body, headers=headers, timeout=30
        )
        if keep:
            self._keep(f"{method} {path}", answer)
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        return answer.json() if is_json else None

    def get(self, path: str, *, follow: bool = True, keep: bool = True) -> requests.Response:
        answer = self.session.get(self.web.url + path, timeout=120, allow_redirects=follow)
        if keep:
            self._keep(f"page {path.partition('?')[0]}", answer)
        return answer

    def submit(
        self,
        path: str,
        form: dict[str, Any],
        *,
        page: str = "",
        keep: bool = True,
        follow: bool = True,
    ) -> requests.Response:
        """Fill in the form of a page, which is at `path` unless it is elsewhere, and send it."""
        token = _CSRF.search(self.get(page or path).text)
        assert token is not None, page or path
        sent = {"csrfmiddlewaretoken": token[1], **form}
        headers = {"Referer": self.web.url + path}
        answer = self.session.post(
            self.web.url + path, data=sent, headers=headers, timeout=120, allow_redirects=follow
        )
        if keep:
            self._keep(f"form {path}", answer)
        return answer

    def crawl(self, *starts: str) -> set[str]:
        """Open every page that can be reached by links, each once."""
        waiting, known = deque(starts), set(starts)
        while waiting:
            path = waiting.popleft()
            answer = self.get(path)
            assert answer.status_code < 500, (path, answer.status_code)
            if "text/html" not in answer.headers.get("Content-Type", ""):
                continue
            for link in _LINK.findall(answer.text):
                place = urlsplit(link)
                target = place.path if place.path.startswith("/") else ""
                own = not place.netloc or self.web.url.endswith(place.netloc)
                if own and target and target not in known and _is_page(target):
                    known.add(target)
                    waiting.append(target)
        return known

    def _keep(self, what: str, last: requests.Response) -> None:
        for answer in (*last.history, last):
            headers = {k: v for k, v in answer.headers.items() if k != "Set-Cookie"}
            cookies = [
                f"{cookie.name}={cookie.value}"
                for cookie in answer.cookies
                if not cookie.name.startswith(_KEPT_BY_BROWSERS)
            ]
            name = f"{self.name}: {what} {answer.status_code} ({len(self.seen)})"
            self.seen[name] = f"{headers}\n{cookies}\n{answer.text}"


def _is_page(path: str) -> bool:
    return "logout" not in path and not path.startswith("/static/")
