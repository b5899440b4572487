"""How the engine for Dask looks for workers and for what they have left behind: a client that is told what to say."""

import asyncio
import threading

import pytest

import gmpx
from gmpx.cluster import engines


class Future:
    def __init__(self, key, workers):
        self.key, self.workers = key, workers
        self.status = "pending"

    def release(self):
        pass


class Client:
    """What DaskEngine uses of one."""

    asynchronous = False
    status = "running"

    def __init__(self):
        self.asyncio_loop = asyncio.new_event_loop()
        self.loop = self.scheduler = self
        self.thread = threading.Thread(target=self.asyncio_loop.run_forever)
        self.thread.start()
        self.workers = ["a"]
        self.states = {}
        self.sent, self.cancelled = [], []
        self.looks = self.faults = 0
        self.refuses = False

    def end(self):
        async def end():
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.asyncio_loop).result(60)
        self.asyncio_loop.call_soon_threadsafe(self.asyncio_loop.stop)
        self.thread.join()
        self.asyncio_loop.close()

    async def nthreads(self):
        self.looks += 1
        if self.faults:
            self.faults -= 1
            raise OSError("the connection is closed for the moment")
        return dict.fromkeys(self.workers, 1)

    async def get_task_status(self, keys):
        return {key: self.states.get(key, "processing") for key in keys}

    def submit(
        self, fn, *args, key=None, pure=None, workers=None, allow_other_workers=None, priority=None
    ):
        if self.refuses:
            raise LookupError("refused")
        self.sent.append(Future(key, workers))
        return self.sent[-1]

    async def gather(self, futures, asynchronous):
        await asyncio.Event().wait()

    async def cancel(self, futures, asynchronous):
        self.cancelled += [future.key for future in futures]


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setattr(engines, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(engines, "LOOK_AGAIN", 0.001)
    client = Client()
    yield client
    client.end()


def opened(client, options=None):
    engine = engines.DaskEngine(client, options or {})
    engine.open("name", b"")
    return engine


def looks(client, until, n=5):
    """Some whole looks go by."""
    seen = client.looks + n
    until(lambda: client.looks >= seen)


def test_an_error_does_not_end_the_looks(client, until):
    engine = opened(client)
    engine.start(b"x", print)
    client.faults = 3
    until(lambda: not client.faults)
    client.workers = ["b"]
    client.states[client.sent[0].key] = "no-worker"
    until(lambda: engine.workers == ["b"] and len(client.sent) == 2)
    assert client.sent[0].workers == ["a"] and client.sent[1].workers is None
    until(lambda: client.cancelled == [client.sent[0].key])
    client.status = "closed"
    until(engine.looking.done)


def test_an_error_of_the_first_look_is_raised(client):
    client.faults = 1
    with pytest.raises(OSError, match="closed for the moment"):
        opened(client)


def test_a_range_that_cannot_be_sent_again_ends(client, until):
    engine, ended = opened(client), gmpx.Chan(2)
    engine.start(b"x", lambda *news: ended.send_nowait(news))
    client.refuses = True
    client.workers = []
    client.states[client.sent[0].key] = "no-worker"
    data, exc = ended.recv(60)
    assert data is None and isinstance(exc, LookupError)
    looks(client, until)
    assert not len(ended)


def test_what_waits_for_something_else_is_not_lost(client, until):
    engine = opened(client)
    engine.start(b"x", print)
    client.states[client.sent[0].key] = "waiting"
    client.workers = ["b"]
    until(lambda: engine.workers == ["b"])
    looks(client, until)
    assert len(client.sent) == 1


@pytest.mark.parametrize("insists", (True, False))
def test_a_callers_places(client, until, insists):
    options = {"workers": ["a"], "priority": 5} | ({} if insists else {"allow_other_workers": True})
    engine = opened(client, options)
    engine.start(b"x", print)
    looks(client, until)
    client.workers = ["b"]
    client.states[client.sent[0].key] = "no-worker"
    if insists:
        looks(client, until)
        assert len(client.sent) == 1
    else:
        until(lambda: len(client.sent) == 2)
        assert client.sent[1].workers is None
    engine.close([])
