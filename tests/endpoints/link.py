"""A link between two sites, made on one machine: what goes through takes as long as it would, and is counted."""

import asyncio
import contextlib
import threading


class Link:
    """Forwards TCP from `port` of the loopback to another port there. A message waits its turn at `bandwidth_bps`, each
    direction by itself, and then `latency_s`. `sent` are the bytes so far, [from there to here, from here to there].
    """

    def __init__(self, target: int, latency_s: float = 0.0, bandwidth_bps: float = float("inf")) -> None:
        self.target, self.latency_s, self.bandwidth_bps = target, latency_s, bandwidth_bps
        self.sent, self._free = [0, 0], [0.0, 0.0]
        self._loop, ready = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._joined, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _joined(self, reader, writer) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self._flow(reader, far_writer, 0), self._flow(far_reader, writer, 1))

    async def _flow(self, reader, writer, way: int) -> None:
        under_way: asyncio.Queue = asyncio.Queue()

        async def arrive() -> None:
            while (item := await under_way.get()) is not None:
                at, data = item
                await asyncio.sleep(at - self._loop.time())
                writer.write(data)
                await writer.drain()

        arriving = asyncio.ensure_future(arrive())
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.sent[way] += len(data)
                self._free[way] = max(self._free[way], self._loop.time()) + len(data) / self.bandwidth_bps
                under_way.put_nowait((self._free[way] + self.latency_s, data))
        under_way.put_nowait(None)
        with contextlib.suppress(OSError):
            await arriving
            writer.close()

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.thread.join()
