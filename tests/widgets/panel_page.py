"""A page that a panel believes in: it takes the kernel's messages as panel.js does, and sends what a click sends."""

from __future__ import annotations

import time

import comm
import pytest


def changed(old, change):
    """What panel.js does with a change: the independent half of delta.difference."""
    if "value" in change:
        return change["value"]
    if "append" in change:
        return [*old, *change["append"]]
    new = {key: value for key, value in old.items() if key not in change["gone"]}
    for key, inner in change["keys"].items():
        new[key] = changed(old.get(key), inner)
    return new


class Page:
    """Keeps the state of one panel as the browser would, and every message."""

    def __init__(self):
        self.messages, self.state, self.answers, self.files, self.buffers = [], {}, [], [], []

    def take(self, data, buffers):
        self.messages.append(data)
        self.buffers.append([list(bytes(each)) for each in buffers or ()])
        if "state" in data:
            self.state |= data["state"]
            change = data["state"].get("change")
            if change:
                assert self.state["picture"]["version"] == change["base"], "the page missed a change"
                picture = changed(self.state["picture"], change["change"])
                self.state["picture"] = picture | {"version": change["base"] + 1}
        elif data.get("method") == "custom" and data["content"]["type"] == "answer":
            self.answers.append(data["content"])
        elif data.get("method") == "custom":
            self.files.append((data["content"], buffers))

    @property
    def picture(self):
        return {key: value for key, value in self.state["picture"].items() if key != "version"}


MODEL = """
const listeners = {};
window.sent = [];
window.model = {
  state: {},
  get(name) { return this.state[name]; },
  set(name, value) { this.state[name] = value; this.fire(`change:${name}`); },
  on(event, heard) { (listeners[event] ||= []).push(heard); },
  off(event, heard) { listeners[event] = (listeners[event] || []).filter((other) => other !== heard); },
  fire(event, ...what) { for (const heard of [...(listeners[event] || [])]) heard(...what); },
  send(content, callbacks, buffers) {
    window.sent.push({ content, buffers: (buffers || []).map((each) => [...new Uint8Array(each)]) });
  },
  take(state) {  // as the widget manager does: all values first, then the events
    const same = (name) => JSON.stringify(state[name]) === JSON.stringify(this.state[name]);
    const changed = Object.keys(state).filter((name) => !same(name));
    Object.assign(this.state, state);
    for (const name of changed) this.fire(`change:${name}`);
  },
};
window.listening = () => Object.values(listeners).flat().length;
"""


class Shown:
    """A panel's page module in a browser tab, and the wire between the two."""

    def __init__(self, page, panel, pages):
        self.page, self.panel, self.wire, self.errors = page, panel, pages[panel.comm.comm_id], []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.route("http://panel.test/", lambda route: route.fulfill(body="<div id=place></div>"))
        page.goto("http://panel.test/")
        page.evaluate(MODEL)
        state = panel.get_state()
        page.add_style_tag(content=state.pop("_css"))
        self.seen = len(self.wire.messages)
        page.evaluate(
            """async ([state, code]) => {
              Object.assign(model.state, state);
              const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
              const widget = (await import(url)).default;
              widget.initialize?.({ model });
              window.leave = widget.render({ model, el: document.getElementById("place") });
            }""",
            [{name: value for name, value in state.items() if not name.startswith("_")}, state["_esm"]])

    def settle(self, until=lambda: True, timeout_s=20.0):
        """Carry messages both ways until the page asks nothing more and ``until()`` holds."""
        deadline = time.monotonic() + timeout_s
        while True:
            for sent in self.page.evaluate("() => sent.splice(0)"):
                self.panel._handle_custom_msg(sent["content"], [bytes(each) for each in sent["buffers"]])
            self.panel._worker.submit(lambda: None).result()  # all that was asked for is done
            held = until()  # asked first, so that the page gets what made it true
            self.panel._flush()
            while self.seen < len(self.wire.messages):
                data, self.seen = self.wire.messages[self.seen], self.seen + 1
                if "state" in data:
                    self.page.evaluate("state => model.take(state)", data["state"])
                else:
                    self.page.evaluate(
                        """([content, buffers]) => model.fire("msg:custom", content,
                             buffers.map((each) => new Uint8Array(each)))""",
                        [data["content"], self.wire.buffers[self.seen - 1]])
            if held and not self.page.evaluate("() => sent.length"):
                return self
            assert time.monotonic() < deadline, "it did not come about"
            self.page.wait_for_timeout(20)

    def press(self, name, **more):
        self.page.get_by_role("button", name=name, exact=True).first.click()
        return self.settle(**more)

    def type(self, label, text):
        self.page.get_by_label(label).first.fill(text)
        self.page.wait_for_timeout(150)  # the form waits for the next key before it asks
        return self.settle()

    def text(self, selector):
        return self.page.locator(selector).first.inner_text()


@pytest.fixture
def pages(monkeypatch):
    """{comm id: Page} of the panels made in the test."""
    made: dict[str, Page] = {}

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        if msg_type in ("comm_open", "comm_msg"):
            made.setdefault(self.comm_id, Page()).take(data, buffers)

    monkeypatch.setattr(comm.DummyComm, "publish_msg", publish_msg)
    return made
