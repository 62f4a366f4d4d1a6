"""The contract of scilab.runs in memory, until the real one is there."""
import dataclasses, itertools, json, threading, time, traceback, pathlib

_ids = itertools.count(1)

class JournalError(OSError): ...

class StoredRun:
    recorded = False
    def __init__(self, row): self.__dict__.update(row); self.row = row
    @property
    def progress(self):
        done = sum(1 for r in self.row["recs"] if r.get("_adv")); total = self.row["total"]
        el = (self.row.get("ended") or time.time()) - self.row["created"]
        rate = done / el if el and done else None
        return {"done": done, "total": total, "rate_per_s": rate, "remaining_s": (total - done) / rate if rate and total else None, "elapsed_s": el}
    def records(self, since=0): return [dict(r) for r in self.row["recs"] if r["n"] > since]
    @property
    def count(self): return len(self.row["recs"])
    @property
    def resumable(self): return self.row["state"] is not None and self.status in ("interrupted", "stopped", "failed")

class Journal:
    def __init__(self, path=None):
        self.path = path; self.rows = {}
    def _alive(self, row): return row["status"]
    def runs(self): return [StoredRun(r) for r in sorted(self.rows.values(), key=lambda r: -r["seq"])]
    def run(self, id): return StoredRun(self.rows[id])
    def delete(self, id): del self.rows[id]
    def rename(self, id, name): self.rows[id]["name"] = name
    def note(self, id, text): self.rows[id]["notes"] = text
    @property
    def size_bytes(self): return 1234 * len(self.rows)
    def export(self, id, path): pathlib.Path(path).write_text(json.dumps({k: v for k, v in self.rows[id].items() if k != "state"}))
    def import_(self, path, recorded=False):
        try: row = json.loads(pathlib.Path(path).read_text())
        except Exception: raise JournalError("This file is not an exported run.") from None
        seq = next(_ids); row |= {"id": f"r{seq}", "seq": seq, "recorded": recorded, "state": None}
        self.rows[row["id"]] = row
        return StoredRun(row)
    def close(self): pass

_default = Journal()

class Run:
    recorded = False
    def __init__(self, capability, name=None, journal=None, notes="", _row=None):
        self.capability, self.journal = capability, journal or _default
        seq = next(_ids)
        self.row = _row or {"id": f"r{seq}", "seq": seq, "name": name or f"{capability.kind} {seq}", "notes": notes, "kind": capability.kind,
            "settings": dict(capability.settings), "created": time.time(), "status": "ready", "error": None, "recs": [], "total": capability.total, "state": None, "recorded": False}
        self.subs = []; self.thread = None; self.differences = []
        self.journal.rows[self.row["id"]] = self.row
    def __getattr__(self, key):
        if key in ("row",): raise AttributeError(key)
        return self.row[key]
    progress = StoredRun.progress; records = StoredRun.records; count = StoredRun.count; resumable = StoredRun.resumable
    @classmethod
    def resume(cls, id, capability, journal=None):
        journal = journal or _default
        row = journal.rows[id]; self = cls(capability, journal=journal, _row=row)
        mine = dict(capability.settings)
        self.differences = [(k, row["settings"].get(k), mine.get(k)) for k in {**mine, **row["settings"]} if row["settings"].get(k) != mine.get(k)]
        capability.load_state_dict(row["state"])
        return self
    def _set(self, status):
        self.row["status"] = status
        for s in list(self.subs): s(self)
    def start(self):
        self._set("starting"); self.thread = threading.Thread(target=self._drive, daemon=True); self.thread.start(); return self
    def _drive(self):
        self._stop = False
        self._set("running")
        try:
            for rec in self.capability:
                r = {"kind": type(rec).__name__, **dataclasses.asdict(rec), "n": self.count + 1, "t": time.time(), "_adv": rec.advances}
                self.row["recs"].append(r)
                if rec.checkpoint: self.row["state"] = self.capability.state_dict()
                for s in list(self.subs): s(self)
            end = "stopped" if self.status == "stopping" else "finished"
        except Exception: self.row["error"] = traceback.format_exc(); end = "failed"
        self.row["ended"] = time.time()
        self.capability.close(); self._set(end)
    def pause(self): self.capability.send("pause"); self._set("paused")
    def unpause(self): self.capability.send("resume"); self._set("running")
    def stop(self, wait=True):
        self._set("stopping"); self.capability.send("stop")
        if wait: self.wait()
    def wait(self, timeout_s=None): self.thread.join(timeout_s); return self
    def command(self, c):
        self.row["recs"].append({"kind": "Command", "command": c, "n": self.count + 1, "t": time.time()}); self.capability.send(c)
        for s in list(self.subs): s(self)
    def close(self): pass
    def subscribe(self, cb): self.subs.append(cb); return lambda: self.subs.remove(cb) if cb in self.subs else None
    @property
    def result(self): return self.capability.result
