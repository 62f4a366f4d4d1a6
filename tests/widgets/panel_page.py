"""A page that a panel believes in: it takes the kernel's messages as panel.js does, and sends what a click sends."""

from __future__ import annotations


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
        self.messages, self.state, self.answers, self.files = [], {}, [], []

    def take(self, data, buffers):
        self.messages.append(data)
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
