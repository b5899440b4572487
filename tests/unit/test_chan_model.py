"""Chan's single operations, with waiters of both kinds, against plain deques."""

from collections import deque

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import pytest

import gmpx


class ChanModel(RuleBasedStateMachine):
    """Single operations, with goroutines that are known to be parked on the other side."""

    @initialize(capacity=st.sampled_from([0, 1, 2, 3, 17, 40]))
    def make(self, capacity):
        self.cap = capacity
        self.c = gmpx.Chan(capacity)
        self.items = deque()
        self.closed = False
        self.senders = deque()  # (goroutine, item)
        self.receivers = deque()
        self.count = 0

    def item(self):
        self.count += 1
        return self.count

    def settle(self, g):
        while g.status not in ("waiting", "dead"):
            gmpx.gosched()

    def sent(self, v):
        # the model's send; False: would wait
        if self.receivers:
            assert self.receivers.popleft().result(10) == (v, True)
        elif len(self.items) < self.cap:
            self.items.append(v)
        else:
            return False
        return True

    @rule(many=st.sampled_from([1, 1, 1, 20]))
    def send_nowait(self, many):
        for _ in range(many):
            v = self.item()
            if self.closed:
                with pytest.raises(gmpx.ChannelClosed):
                    self.c.send_nowait(v)
            elif self.receivers or len(self.items) < self.cap:
                self.c.send_nowait(v)
                assert self.sent(v)
            else:
                with pytest.raises(gmpx.WouldBlock):
                    self.c.send_nowait(v)
        self.agree()

    @rule(many=st.sampled_from([1, 1, 1, 20]), how=st.sampled_from(["nowait", "ok", "0"]))
    def recv_nowait(self, many, how):
        for _ in range(many):
            if self.items or self.senders:
                if self.items:
                    want = self.items.popleft()
                    if self.senders:
                        g, v = self.senders.popleft()
                        self.items.append(v)
                else:
                    g, want = self.senders.popleft()
                if how == "ok":
                    assert self.c.recv_ok(0) == (want, True)
                else:
                    assert (self.c.recv_nowait() if how == "nowait" else self.c.recv(0)) == want
            elif self.closed:
                if how == "ok":
                    assert self.c.recv_ok(0) == (None, False)
                else:
                    with pytest.raises(gmpx.ChannelClosed):
                        self.c.recv_nowait()
            else:
                with pytest.raises((gmpx.WouldBlock, TimeoutError)):
                    self.c.recv_nowait() if how == "nowait" else self.c.recv(0)
        self.agree()

    @rule()
    def park_a_sender(self):
        v = self.item()
        g = gmpx.go(self.c.send, v)
        self.settle(g)
        if self.closed:
            assert type(g.exception(10)) is gmpx.ChannelClosed
        elif self.sent(v):
            assert g.result(10) is None
        else:
            assert g.status == "waiting"
            self.senders.append((g, v))
        self.agree()

    @rule()
    def park_a_receiver(self):
        if not self.closed and not self.items and not self.senders:
            g = gmpx.go(self.c.recv_ok)
            self.settle(g)
            assert g.status == "waiting"
            self.receivers.append(g)

    @rule()
    def close(self):
        if self.closed:
            with pytest.raises(gmpx.ChannelClosed):
                self.c.close()
            return
        self.c.close()
        self.closed = True
        while self.senders:
            assert type(self.senders.popleft()[0].exception(10)) is gmpx.ChannelClosed
        while self.receivers:
            assert self.receivers.popleft().result(10) == (None, False)
        self.agree()

    def agree(self):
        assert len(self.c) == len(self.items)
        assert self.c.closed == self.closed
        assert self.c.cap == self.cap

    def teardown(self):
        if hasattr(self, "c") and not self.closed:
            self.close()
            assert list(self.c) == list(self.items)


TestChanModel = ChanModel.TestCase
TestChanModel.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
