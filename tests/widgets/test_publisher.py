import threading
import time
import weakref

from scilab.widgets.publisher import Publisher
from scilab.widgets.worker import Worker


class Sender:
    def __init__(self, interval_s=0.05):
        self.state, self.sent, self.came = 0, [], threading.Event()
        self.publisher = Publisher(self.flush, interval_s=interval_s)

    def flush(self):
        self.sent.append(self.state)
        self.came.set()


def until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def test_a_flood_is_sent_now_and_then_and_its_end_for_sure():
    sender, began = Sender(), time.monotonic()
    for state in range(1, 200_001):
        sender.state = state
        sender.publisher.wake()
    until(lambda: sender.sent and sender.sent[-1] == 200_000)
    assert len(sender.sent) <= (time.monotonic() - began) / 0.05 + 2
    sender.publisher.close()


def test_without_news_nothing_is_sent_unless_asked_to_look():
    sender = Sender(interval_s=0.001)
    sender.publisher.wake()
    assert sender.came.wait(10)
    sender.came.clear()
    assert not sender.came.wait(0.1)
    sender.publisher.look_every(0.01)
    until(lambda: len(sender.sent) > 5)
    sender.publisher.close()


def test_threads_end_when_closed_and_when_forgotten():
    sender = Sender()
    publisher, worker = sender.publisher, Worker(sender)
    assert worker.submit(lambda: 7).result() == 7
    gone = weakref.ref(sender)
    del sender
    until(lambda: gone() is None and not publisher._thread.is_alive() and not worker._thread.is_alive())
    kept = Sender()
    kept.publisher.close()
    kept.publisher.close()
    assert not kept.publisher._thread.is_alive()


def test_the_worker_does_things_in_order_and_carries_errors():
    owner = Sender()
    worker, done = Worker(owner), []
    futures = [worker.submit(done.append, i) for i in range(100)]
    broken = worker.submit(lambda: 1 / 0)
    assert isinstance(broken.exception(), ZeroDivisionError)
    assert done == list(range(100))
    assert all(future.done() for future in futures)
    assert worker.submit(lambda: worker.current).result() is True
    assert worker.current is False
    worker.close()
    owner.publisher.close()
