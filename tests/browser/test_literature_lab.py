"""The literature room as a person meets it: label by mouse and keys, train, accept suggestions, export, reload; then
a kernel is killed, and nothing is lost.
"""

import json
import os
import signal

import nbformat
import psutil
from conftest import NOTEBOOKS
from test_label_page import BOX
from test_notebooks import no_overflow, save, shots  # noqa: F401

from scilab.literature import sample_tasks

EMOJI = "The 👩‍🔬 gave 😀😀 aspirin, then ibuprofen 5mg."
GOLD = {task.text: [task.text[s.start:s.end] for s in task.spans] for task in sample_tasks()}
GOLD[EMOJI] = ["aspirin", "ibuprofen"]
ROOM = f"""
from scilab.literature import Task
emoji = Task({EMOJI!r})
store.add_tasks([emoji])
if emoji in store.unanswered("me"):
    room.label.act("review", hashes=[emoji.task_hash])
room.training.set(epochs=5, negatives=10)
"""


def first_cells():
    """What the notebook does up to the room."""
    notebook = nbformat.read(NOTEBOOKS / "03_literature.ipynb", 4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert cells[2].rstrip().endswith("room")
    return [*cells[:2], cells[2], ROOM]


class Desk:
    """The labelling panel of a page, and what a person saw on it."""

    def __init__(self, lab_page):
        self.lab, self.page, self.seen = lab_page, lab_page.page, []
        self.panel = self.page.locator(".scilab-desk").first

    def text(self):
        return self.panel.locator(".scilab-text").text_content()

    def spans(self):
        """[[text, begin in code points, suggested]] as they are drawn."""
        return self.panel.evaluate("""(it) => [...it.querySelectorAll("mark")].map((mark) => {
          const range = document.createRange();
          range.setStart(it.querySelector(".scilab-text"), 0);
          range.setEnd(mark, 0);
          return [mark.textContent, [...range.toString()].length, mark.classList.contains("scilab-suggested")];
        })""")

    def mark(self, name, how):
        left, top, width, height = self.page.evaluate(BOX, name)
        if how == "click":
            self.page.mouse.click(left + width / 2, top + height / 2)
        else:
            self.page.mouse.move(left + 2, top + height / 2)
            self.page.mouse.down()
            self.page.mouse.move(left + width - 2, top + height / 2, steps=5)
            self.page.mouse.up()

    def key(self, key, answer):
        """Answer what is seen; the next text is there before anything else happens."""
        before = self.text()
        self.seen.append((before, answer, [(name, at) for name, at, _ in self.spans()]))
        self.page.keyboard.press(key)
        self.page.wait_for_function("(old) => document.querySelector('.scilab-text').textContent !== old", arg=before)

    def label(self, number):
        self.panel.locator(".scilab-text").scroll_into_view_if_needed()
        for name in dict.fromkeys(GOLD[self.text()]):
            if name not in [span[0] for span in self.spans()]:
                self.mark(name, "click" if name.isalpha() and number % 2 else "drag")
        assert {name for name, *_ in self.spans()} == set(GOLD[self.text()])

    def saved(self):
        self.panel.get_by_text("all saved").wait_for(timeout=60_000)


def rows(path):
    """[(text, answer, [(what is labelled, begin)])] of my answers in a Prodigy file."""
    found = []
    for line in path.read_text(encoding="ascii").splitlines():
        row = json.loads(line)
        if row["_annotator_id"] == "me":
            assert all(row["text"][s["start"]:s["end"]] == s["text"] for s in row["spans"])
            found.append((row["text"], row["answer"], [(s["text"], s["start"]) for s in row["spans"]]))
    return found


def export(desk):
    with desk.page.expect_download(timeout=60_000) as download:
        desk.panel.get_by_role("button", name="Export JSONL").click()
    return rows(download.value.path())


def test_ten_texts_are_labelled_a_model_trained_its_suggestions_accepted(lab_page, probe, shots):  # noqa: F811
    probe(*first_cells())
    assert lab_page.problems() == []
    desk = Desk(lab_page)
    desk.panel.wait_for()
    cells = len(lab_page.cells())
    assert desk.text() == EMOJI
    for number in range(8):
        desk.label(number)
        desk.key("a", "accept")
    desk.label(1)
    desk.key("a", "accept")
    desk.saved()
    taken = desk.seen.pop()
    desk.page.keyboard.press("Backspace")
    desk.page.wait_for_function("(old) => document.querySelector('.scilab-text').textContent === old", arg=taken[0])
    desk.key("x", "reject")
    desk.key(" ", "ignore")
    desk.page.keyboard.press("d")  # twice, it would delete a cell of the notebook
    desk.page.keyboard.press("d")
    assert len(lab_page.cells()) == cells
    shots(lab_page, "labelled")

    desk.panel.get_by_role("button", name="Train now").click()
    desk.panel.get_by_text("The model suggests: F1").wait_for(timeout=280_000)
    suggested = 0
    for _ in range(8):
        if desk.page.locator(".scilab-empty-desk").is_visible():
            break
        suggested += sum(span[2] for span in desk.spans())
        desk.key("a", "accept")
    assert suggested > 0, "the model suggested nothing"
    desk.saved()
    assert export(desk) == desk.seen
    shots(lab_page, "suggested")

    save(lab_page)
    lab_page.reload()
    desk.panel.wait_for(timeout=60_000)
    assert desk.panel.get_by_text(f"{len(desk.seen)} of {len(GOLD)} texts").is_visible()
    lab_page.set_theme("JupyterLab Dark")
    desk.panel.locator(".scilab-text").click(position={"x": 2, "y": 2})
    desk.key("a", "accept")
    desk.saved()
    for width in (1280, 900):
        lab_page.set_width(width)
        no_overflow(lab_page)
        shots(lab_page, f"dark-{width}")
    for name in ("Train", "Extract", "Exchange", "Label"):
        lab_page.page.locator(".lm-TabBar-tabLabel").get_by_text(name, exact=True).last.click()
        lab_page.page.wait_for_timeout(300)
        no_overflow(lab_page)
        shots(lab_page, f"dark-{name}")
    assert lab_page.problems() == []


def test_a_killed_kernel_costs_no_answer(lab_page, probe):
    probe(*first_cells())
    desk = Desk(lab_page)
    desk.panel.wait_for()
    desk.label(0)
    for _ in range(3):
        desk.key("a", "accept")
    desk.saved()
    below = psutil.Process().children(recursive=True)
    kernel = next(each for each in below if "ipykernel_launcher" in " ".join(each.cmdline()))
    os.kill(kernel.pid, signal.SIGSTOP)  # it hears no more
    desk.key("x", "reject")
    desk.key("a", "accept")
    assert desk.panel.get_by_text("2 not saved yet").is_visible()
    os.kill(kernel.pid, signal.SIGKILL)
    lab_page.page.wait_for_timeout(6000)  # JupyterLab starts another, and says so
    if lab_page.page.locator(".jp-Dialog").count():
        lab_page.page.locator(".jp-Dialog").get_by_role("button").last.click()
    lab_page.run_all()
    desk.panel.get_by_text(f"{len(desk.seen)} of {len(GOLD)} texts").wait_for(timeout=60_000)
    desk.saved()
    assert export(desk) == desk.seen
