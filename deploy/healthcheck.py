"""Exit with 0 if a URL answers 200: `python healthcheck.py URL [host name]`. For containers."""

import sys
import urllib.request


def main(url: str, host: str = "") -> int:
    """Ask as `host`, for servers that answer to certain names alone."""
    headers = {"Host": host} if host else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - named by the deployment
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=4) as answer:
            return int(answer.status != 200)
    except OSError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
