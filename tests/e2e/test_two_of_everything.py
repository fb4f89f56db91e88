"""Two web processes and two workers on PostgreSQL and Redis, while things break."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from chatd.chattest.openai import side_schema
from tests.e2e.provider import Gate, ScriptedProvider, counting, is_counted, paced
from tests.support.client import Client, ContractError, Follower, text_of
from tests.support.product import Process, Product, RedisProcess, Web, split, wait_until

RUNS_ON = "split"
pytestmark = pytest.mark.slow

LEASE = 8.0
"""Many times as long as a worker of a loaded machine may need to renew it."""

RESTARTS = "The worker is restarting; the turn goes on with another one."
UPLOADS = "/api/experimental/chats/files"


@pytest.fixture(scope="module")
def fakes() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        yield server


@pytest.fixture(scope="module")
def product(server_url, fakes) -> Iterator[Product]:
    with split(
        server_url,
        CHATD_LEASE_SECONDS=str(LEASE),
        CHATD_LEASE_RENEW_SECONDS="1",
        CHATD_SWEEP_SECONDS="1",
        CHATD_HEAL_SECONDS="1",
        CHATD_RETRY_FIRST_DELAY_SECONDS="0.1",
        CHATD_UPLOAD_RATE_LIMIT="6",
    ) as started:
        started.add_models({"base_url": fakes.base_url, "is_default": True})
        yield started


@pytest.fixture
def webs(product) -> list[Web]:
    """Two web processes that are ready, whatever earlier tests did to them."""
    alive = [each for each in product.processes if isinstance(each, Web) and each.is_alive]
    started = [product.web(ready=False) for _ in range(2 - len(alive))]
    for web in alive + started:
        web.wait_until_ready()
    return alive + started


@pytest.fixture
def workers(product) -> list[Process]:
    """Two workers that consume."""
    alive = _workers(product)
    started = [product.worker(ready=False) for _ in range(2 - len(alive))]
    for worker in started:
        worker.wait_for_log(" ready.")
    return alive + started


@pytest.fixture
def redis_process(product) -> Iterator[RedisProcess]:
    """The Redis of the product, to be broken; every process is a new one afterwards."""
    assert product.redis is not None
    yield product.redis
    product.close()


@pytest.fixture
def clients(product, webs) -> tuple[Client, Client]:
    first, second = (product.client(web) for web in webs)
    return first, second


@pytest.fixture
def gate(fakes):
    """Make an answer under a prompt of its own; it is ended with the test."""
    made: list[Gate] = []

    def make(*deltas: str) -> tuple[str, Gate]:
        prompt = f"question {uuid4().hex[:8]}"
        made.append(fakes.gate(prompt, *deltas))
        return prompt, made[-1]

    yield make
    for each in made:
        each.end()


def _workers(product: Product) -> list[Process]:
    return [each for each in product.processes if "worker" in each.name and each.is_alive]


def _holder(product: Product, fakes: ScriptedProvider) -> Process:
    """Return the worker that runs the one turn that runs: it has the provider call open."""
    port = int(fakes.base_url.rsplit(":", 1)[1])
    holders = [each for each in _workers(product) if _is_connected(each.pid, port)]
    assert len(holders) == 1, f"provider calls are open in {[each.name for each in holders]}"
    return holders[0]


def _is_connected(pid: int, port: int) -> bool:
    """Tell whether a process has an established TCP connection to a port."""
    sockets = {_inode(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return any(
        row[9] in sockets and int(row[2].split(":")[1], 16) == port and row[3] == "01"
        for row in rows
    )


def _inode(link: Path) -> str:
    try:
        return str(link.readlink()).removeprefix("socket:[").removesuffix("]")
    except OSError:  # closed meanwhile
        return ""


def _each_once(client: Client, chat_id: str, *texts: str) -> None:
    """The history holds exactly these texts, each message once."""
    assert [text_of(message) for message in client.messages(chat_id)] == list(texts)


def test_both_webs_show_the_same(clients, workers, gate):
    a, b = clients
    prompt, held = gate("one ", "two ")
    chat = a.create_chat(prompt)
    with a.follow(chat["id"]) as on_a, b.follow(chat["id"]) as on_b:
        for follower in (on_a, on_b):
            follower.wait_for_text("one two ")
        for number in range(30):
            held.send(f"{number} ")
        held.end("end")
        for follower in (on_a, on_b):
            follower.wait_for_answers(1)
    assert on_a.at_reset == on_b.at_reset == [held.text]
    assert on_a.answers == on_b.answers == [held.text]
    assert set(on_b.delivered.values()) == {1}
    _each_once(b, chat["id"], prompt, held.text)


def test_a_changed_setting_holds_at_once_on_the_other_web(clients):
    config = "/api/experimental/chats/config"
    for days in (5, 6, 7):
        for first, second in (clients, clients[::-1]):
            body = {"retention_days": days}
            first.call("PUT", f"{config}/retention-days", body, expect=204)
            assert second.call("GET", f"{config}/retention-days") == body
            days += 10
    clients[0].call("PUT", f"{config}/user-prompt", {"custom_prompt": "be brief"})
    assert clients[1].call("GET", f"{config}/user-prompt") == {"custom_prompt": "be brief"}
    clients[1].call("PUT", f"{config}/user-prompt", {})


def test_a_token_that_one_web_ends_closes_its_sockets_on_the_other(clients, workers):
    a, b = clients
    text = a.call("POST", "/api/v2/users/me/keys/tokens", {}, expect=201)["key"]
    chat = a.create_chat("to be left")
    with Client(b.url, text).follow(chat["id"]) as ended, b.follow(chat["id"]) as other:
        for follower in (ended, other):
            follower.wait_for_answers(1)
        a.call("DELETE", f"/api/v2/users/me/keys/{text.split('-')[0]}", expect=204)
        assert ended.wait_until_closed() == 1008
        Client(b.url, text).call("GET", "/api/v2/users/me", expect=401)
        a.send(chat["id"], "more")
        other.wait_for_answers(2)


def test_reconnecting_to_either_web_loses_nothing(clients, workers, fakes):
    enough = threading.Event()
    prompt = f"question {uuid4().hex[:8]}"
    fakes.on(prompt, counting(enough, 0.01))
    chat = clients[0].create_chat(prompt)
    chance = random.Random(7)
    known = 0
    with clients[0].follow(chat["id"]) as witness:
        witness.wait(lambda f: f.text != "", "the first word")
        for _ in range(60):
            with chance.choice(clients).follow(chat["id"]) as follower:
                frames = chance.choice([1, 2, 3])
                follower.wait(lambda f, n=frames: len(f.events) > n, "some events")
                follower.close()
                assert is_counted(follower.text), follower.text[-200:]
                assert len(follower.text) >= known
                known = len(follower.text)
        enough.set()
        witness.wait_for_answers(1)
    assert known > 0
    [whole] = witness.answers
    assert is_counted(whole)
    assert witness.at_reset == [whole]


def test_a_message_reaches_a_follower_whose_last_notification_was_lost(clients, workers, product):
    """The poll heals what no doorbell told: here a change behind the product's back."""
    chat = clients[0].create_chat("heal me")
    with clients[1].follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
        with psycopg.connect(product.environment["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(
                "UPDATE chats_chat SET status = 'error', snapshot_version = snapshot_version + 1,"
                ' last_error = \'{"message": "unheard"}\' WHERE id = %s',
                [chat["id"]],
            )
        follower.wait_for_status("error")
        assert follower.errors[-1]["message"] == "unheard"


def test_a_killed_worker_costs_nothing_but_time(clients, workers, product, fakes, gate):
    a, b = clients
    prompt, held = gate("first ", "half ")
    chat = a.create_chat(prompt)
    with a.follow(chat["id"]) as on_a, b.follow(chat["id"]) as on_b:
        for follower in (on_a, on_b):
            follower.wait_for_text("first half ")
        _holder(product, fakes).kill()
        held.wait_for_streams(0)
        for follower in (on_a, on_b):
            follower.wait(lambda f: len(f.retries) == 1, "a retry that voids the parts")
            follower.wait_for_text("first half ")
        assert _holder(product, fakes).is_alive
        held.end("and the rest")
        for follower in (on_a, on_b):
            follower.wait_for_answers(1)
            assert follower.answers == ["first half and the rest"]
            assert follower.at_reset == ["first half ", "first half and the rest"]
    _each_once(b, chat["id"], prompt, "first half and the rest")


def test_a_killed_web_loses_its_followers_nothing(clients, webs, workers, gate):
    a, b = clients
    prompt, held = gate("before ")
    chat = a.create_chat(prompt)
    with a.follow(chat["id"]) as on_a:
        on_a.wait_for_text("before ")
        newest = max(on_a.messages)
        webs[0].kill()
        on_a.wait_until_closed()
    held.send("meanwhile ")
    with b.follow(chat["id"], after_id=newest) as on_b:
        on_b.wait_for_text("before meanwhile ")
        held.end("after")
        on_b.wait_for_answers(1)
    assert on_b.at_reset == on_b.answers == ["before meanwhile after"]
    assert list(on_b.delivered) == [max(on_b.messages)]


def test_a_web_that_is_asked_to_stop_says_good_bye(clients, webs, workers, gate):
    a, b = clients
    prompt, held = gate("x")
    chat = a.create_chat(prompt)
    with a.follow(chat["id"]) as on_a:
        on_a.wait_for_text("x")
        assert webs[0].terminate() == 0
        assert on_a.wait_until_closed() == 1001
    held.end("y")
    with b.follow(chat["id"]) as on_b:
        on_b.wait_for_answers(1)
    assert on_b.answers == ["xy"]


def test_a_worker_that_is_asked_to_stop_hands_its_turn_over_at_once(
    clients, workers, product, fakes, gate
):
    a, _ = clients
    prompt, held = gate("some ", "words ")
    chat = a.create_chat(prompt)
    with a.follow(chat["id"]) as follower:
        follower.wait_for_text("some words ")
        holder = _holder(product, fakes)
        holder.signal(signal.SIGTERM)
        follower.wait(lambda f: len(f.retries) == 1, "the hand-over")
        assert follower.retries[0]["error"] == RESTARTS, "no lease has run out"
        follower.wait_for_text("some words ")
        held.end("more")
        follower.wait_for_answers(1)
        assert holder.wait() == 0
    assert follower.answers == ["some words more"]
    assert "Traceback" not in holder.log
    _each_once(a, chat["id"], prompt, "some words more")


def test_a_worker_that_stops_gives_many_turns_back(clients, workers, product, fakes):
    """Every turn of a stopping worker goes on elsewhere; none waits for a lease to run out."""
    a, _ = clients
    prompt = f"question {uuid4().hex[:8]}"
    held = fakes.gate(prompt, "a ")
    chats = [a.create_chat(prompt)["id"] for _ in range(6)]
    followers = [a.follow(chat_id) for chat_id in chats]
    for follower in followers:
        follower.wait_for_text("a ")
    workers[0].signal(signal.SIGTERM)
    assert workers[0].wait() == 0
    held.wait_for_streams(6)
    held.end("b")
    for follower in followers:
        with follower:
            follower.wait_for_answers(1)
        assert follower.answers == ["a b"]
    told = [notice["error"] for follower in followers for notice in follower.retries]
    assert set(told) == {RESTARTS}


def test_a_lost_broker_message_is_found(clients, workers, product):
    """All workers are away, a chat is created, its message vanishes, a worker comes back."""
    a, _ = clients
    for worker in workers:
        worker.signal(signal.SIGTERM)
    for worker in workers:
        worker.wait()
    chat = a.create_chat("is anybody there")
    with a.follow(chat["id"]) as follower:
        follower.wait_for_status("pending")
        store = redis.Redis.from_url(product.redis.url)
        with store:
            assert store.delete("chatd:celery:turns") == 1
        product.worker(ready=False)
        follower.wait_for_answers(1)
    assert follower.answers == ["You said: is anybody there"]


def test_a_lost_message_with_workers_alive_is_made_up_for(clients, workers, product):
    """Creating a pending chat without any message is what a broker that forgets looks like."""
    a, _ = clients
    store = redis.Redis.from_url(product.redis.url)
    stop = threading.Event()

    def steal() -> None:
        while not stop.is_set():
            store.delete("chatd:celery:turns")

    with store:
        thief = threading.Thread(target=steal)
        thief.start()
        try:
            chat = a.create_chat("stolen")
        finally:
            stop.set()
            thief.join()
    with a.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)


def test_an_emptied_redis_in_the_middle_of_an_answer(clients, workers, product, gate):
    a, b = clients
    prompt, held = gate("early ")
    chat = a.create_chat(prompt)
    with a.follow(chat["id"]) as follower:
        follower.wait_for_text("early ")
        with redis.Redis.from_url(product.redis.url) as store:
            store.flushall()
        held.send("middle ")
        follower.wait_for_text("early middle ")
        held.end("late")
        follower.wait_for_answers(1)
    assert follower.answers == ["early middle late"]
    _each_once(b, chat["id"], prompt, "early middle late")


def test_a_redis_that_is_away_in_the_middle_of_an_answer(redis_process, clients, workers, gate):
    """The answer is whole in the end, and everything works again afterwards."""
    a, b = clients
    prompt, held = gate("early ")
    chat = a.create_chat(prompt)
    with a.follow(chat["id"]) as follower:
        follower.wait_for_text("early ")
        redis_process.kill()
        held.send("lost in between ")
        redis_process.start()
        held.end("late")
        follower.wait_for_answers(1)
        assert follower.answers == ["early lost in between late"]
        a.send(chat["id"], "and then")
        follower.wait_for_answers(2)
    _each_once(
        b, chat["id"], prompt, "early lost in between late", "and then", "You said: and then"
    )


def test_words_after_a_restart_of_redis_are_streamed(redis_process, clients, workers, gate):
    """Connections from before the restart must not swallow what is written to them first."""
    prompt, held = gate("early ")
    chat = clients[0].create_chat(prompt)
    with clients[0].follow(chat["id"]) as follower:
        follower.wait_for_text("early ")
        redis_process.kill()
        redis_process.start()
        held.send("late ")
        follower.wait_for_text("early late ")


_NEWCOMER = """
from chatd.accounts.actions import create_token, create_user
user = create_user(username={name!r}, email={name!r} + "@x.example", password=None)
print(create_token(user=user, name="uploads")[1])
"""


def test_both_webs_count_the_requests_of_a_person_together(clients, product):
    # Redis may have been away before, and is then left alone for a while
    wait_until(lambda: all(map(_counts, clients)), 120, "both webs count")
    limit = int(product.environment["CHATD_UPLOAD_RATE_LIMIT"])
    minute, outcomes = -1.0, list[str]()
    while time.time() // 60 != minute:  # one that ends meanwhile begins another count
        token = product.shell(_NEWCOMER.format(name=f"newcomer-{uuid4().hex[:8]}")).strip()
        minute = time.time() // 60
        people = [Client(client.url, token) for client in clients]
        outcomes = [_uploaded(people[number % 2]) for number in range(limit + 2)]
    assert outcomes[:limit] == [""] * limit
    for refusal in outcomes[limit:]:
        assert "429" in refusal
        assert "been rate limited for sending more than 6 requests" in refusal


def _counts(client: Client) -> bool:
    client.call("GET", "/api/v2/users/me")
    return "X-RateLimit-Remaining" in client.headers


def _uploaded(client: Client) -> str:
    """Send an upload that is no good, and return how it was refused, if nobody looked at it."""
    try:
        client.call("POST", UPLOADS, expect=400)
    except ContractError as refused:
        return str(refused)
    return ""


def test_with_redis_away_nobody_is_limited(redis_process, clients, product, webs):
    a, b = clients
    redis_process.kill()
    for _ in range(int(product.environment["CHATD_UPLOAD_RATE_LIMIT"]) + 1):
        a.call("POST", UPLOADS, expect=400)
    assert webs[0].log.count("requests are not limited, Redis does not answer") == 1
    redis_process.start()
    b.call("POST", UPLOADS, expect=400)


def test_an_interrupt_on_one_web_stops_the_worker(clients, workers, fakes, gate):
    a, b = clients
    prompt, held = gate("partial ", "words ")
    dropped = fakes.disconnects
    chat = a.create_chat(prompt)
    with a.follow(chat["id"]) as follower:
        follower.wait_for_text("partial words ")
        assert b.interrupt(chat["id"])["status"] == "waiting"
        assert fakes.wait_for_disconnects(dropped + 1)
        held.wait_for_streams(0)
        follower.wait_for_answers(1)
        assert b.send(chat["id"], "go on")["queued"] is False
        follower.wait_for_answers(2)
    assert follower.answers == ["partial words ", "You said: go on"]
    _each_once(a, chat["id"], prompt, "partial words ", "go on", "You said: go on")


def test_other_programs_can_listen_to_a_chat(clients, workers, product, gate):
    """`chat:stream:<id>` carries one JSON object per transition, as the contract says."""
    a, _ = clients
    prompt, held = gate("x")
    chat = a.create_chat(prompt)
    with redis.Redis.from_url(product.redis.url) as store, store.pubsub() as pubsub:
        pubsub.subscribe(f"chat:stream:{chat['id']}")
        with a.follow(chat["id"]) as follower:
            follower.wait_for_text("x")
            a.send(chat["id"], "queued")
            held.end()
            follower.wait_for_answers(2)
            newest = max(follower.messages)
        seen: list[dict] = []
        while not seen or seen[-1].get("after_message_id", 0) < newest - 1:
            message = pubsub.get_message(ignore_subscribe_messages=True, timeout=10)
            if message is not None:
                seen.append(json.loads(message["data"]))
    assert any(each.get("queue_update") is True for each in seen)
    statuses = [each["status"] for each in seen if "status" in each]
    assert statuses[-1] == "waiting"
    assert "running" in statuses
    runners = {each["worker_id"] for each in seen if "worker_id" in each}
    assert runners
    allowed = {
        "after_message_id",
        "status",
        "worker_id",
        "error",
        "queue_update",
        "retry",
        "error_payload",
        "full_refresh",
    }
    hints = {
        "first_status",
        "action_required",
        "snapshot_version",
        "history_version",
        "queue_version",
        "attempt",
    }
    assert all(set(each) <= allowed | hints for each in seen)
    versions = [each["snapshot_version"] for each in seen]
    assert versions == sorted(set(versions))


def test_forty_chats_while_workers_come_and_go(clients, workers, product, fakes):
    """Kill one worker, stop the other, start new ones: every chat ends with its own whole text."""
    words = [f"{number}." for number in range(40)]
    prompt = f"question {uuid4().hex[:8]}"
    fakes.on(prompt, paced(words, 0.05))
    chats = [clients[number % 2].create_chat(prompt)["id"] for number in range(40)]
    followers: list[Follower] = [
        clients[number % 2].follow(chat_id) for number, chat_id in enumerate(chats)
    ]
    followers[0].wait(lambda f: f.text != "" or f.answers, "the first words")
    workers[0].kill()
    started = product.worker(ready=False)
    workers[1].signal(signal.SIGTERM)
    started.wait_for_log(" ready.")
    product.worker(ready=False)
    for follower in followers:
        with follower:
            follower.wait_for_answers(1)
        assert follower.answers == ["".join(words)]
        assert follower.at_reset[-1] == "".join(words)
    for chat_id in chats:
        _each_once(clients[0], chat_id, prompt, "".join(words))


def _started(up: Process, role: str) -> list[int]:
    """Return the ids of the processes of a role that a supervisor has started."""
    lines = [line for line in up.log.splitlines() if "process started" in line]
    return [
        int(line.split("pid=")[1].split()[0])
        for line in lines
        if line.split("role=")[1].split()[0] == role
    ]


def test_up_supervises_a_process_per_role(product, webs, clients, workers):
    """With REDIS_URL `up` runs web, worker and the beat, starts a dead one again, and ends all."""
    up = product.up()
    roles = {role: _started(up, role) for role in ("web", "worker", "beat")}
    assert [len(pids) for pids in roles.values()] == [1, 1, 0]
    client = product.client(up)
    chat = client.create_chat("supervised")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
        os.kill(roles["web"][0], signal.SIGKILL)
        follower.wait_until_closed()
    wait_until(lambda: len(_started(up, "web")) == 2, 120, "the web is started again")
    up.wait_until_ready()
    assert client.messages(chat["id"])
    assert up.terminate() == 0
    for pid in (pid for role in roles for pid in _started(up, role)):
        assert not Path(f"/proc/{pid}").exists()
    with pytest.raises((OSError, ConnectionClosed, InvalidHandshake)):
        client.open_socket("/api/experimental/chats/watch")


def test_the_title_and_the_label_of_a_turn_come_from_its_worker(product, webs, workers, fakes):
    client = product.client(webs[0])
    chat = client.create_chat("what shall this be called")

    def said() -> tuple[str, str | None]:
        found = product.client(webs[1]).chat(chat["id"])
        return found["title"], found["last_turn_summary"]

    wanted = ("A title of the fake", "Answered by the fake")
    wait_until(lambda: said() == wanted, 120, "both are there")
    schemas = {side_schema(request) for request in fakes.side_requests}
    assert schemas == {"propose_title", "propose_turn_status_label"}
