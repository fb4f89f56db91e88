"""The floor: a provider's stream read and passed on to a socket, and nothing else.

`python floor.py PORT PROVIDER_URL`. `POST /send?to=<name>` with a prompt as its body answers 204
and has the provider's stream read; each delta goes as a JSON frame to the socket `/socket/<name>`.
Nothing is stored, checked, limited or resumed: what a server does beyond this is its own cost.
"""

import asyncio
import sys

import aiohttp
import orjson
import uvloop
from aiohttp import web

_HEAD = b"data: "


class Floor:
    def __init__(self, provider_url: str) -> None:
        self._url = f"{provider_url}/chat/completions"
        self._sockets: dict[str, list[web.WebSocketResponse]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/socket/{name}", self.socket)
        application.router.add_post("/send", self.send)
        application.cleanup_ctx.append(self._session)
        return application

    async def _session(self, application: web.Application):  # type: ignore[no-untyped-def]
        connector = aiohttp.TCPConnector(limit=0)
        self._client = aiohttp.ClientSession(connector=connector)
        yield
        await self._client.close()

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        joined = self._sockets.setdefault(request.match_info["name"], [])
        joined.append(socket)
        async for _ in socket:
            pass
        joined.remove(socket)
        return socket

    async def send(self, request: web.Request) -> web.Response:
        prompt = await request.text()
        task = asyncio.create_task(self._pass_on(prompt, request.query["to"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.Response(status=204)

    async def _pass_on(self, prompt: str, name: str) -> None:
        body = {
            "model": "bench",
            "stream": True,
            "messages": [{"role": "user", "content": prompt}],
        }
        async with self._client.post(self._url, json=body) as answer:
            async for line in answer.content:
                if not line.startswith(_HEAD) or line.startswith(b"data: [DONE]"):
                    continue
                choices = orjson.loads(line[len(_HEAD) :])["choices"]
                text = choices[0]["delta"].get("content") if choices else None
                if text:
                    await self._tell(name, {"text": text})
        await self._tell(name, {"end": True})

    async def _tell(self, name: str, event: dict[str, object]) -> None:
        frame = orjson.dumps(event).decode()
        for socket in self._sockets.get(name, []):
            await socket.send_str(frame)


if __name__ == "__main__":
    uvloop.install()
    floor = Floor(sys.argv[2])
    web.run_app(
        floor.application(), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None
    )
