"""Text labelled by mouse and by keys in a real browser, wired to a LabelWidget."""

import json

import pytest

from scilab.literature import LabelStore, Span, Task
from scilab.widgets import LabelWidget

EMOJI = "The 👩‍🔬 gave 😀😀 aspirin, then ibuprofen 5mg."
ARABIC = "طُبِّق هيدروكسي كلوروكين على المرضى"
LONG = " ".join(f"Sentence {n} names favipiravir-{n} and lopinavir/ritonavir (at {n}.5 µM)." for n in range(75))
PACE = """() => {  // milliseconds from a key to the picture that follows it, for every change of the text
  window.pace = [];
  let pressed = 0;
  window.addEventListener("keydown", () => { pressed = performance.now(); }, true);
  new MutationObserver(() => requestAnimationFrame(() => requestAnimationFrame(() => {
    if (pressed) pace.push(performance.now() - pressed);
    pressed = 0;
  }))).observe(document.querySelector(".scilab-text"), { childList: true });
}"""


@pytest.fixture
def desk(shown, tmp_path):
    """desk(*texts or tasks) opens a LabelWidget on them, in this order, in the browser."""
    made = []

    def open_(*tasks, labels=("DRUG", "DOSE"), width=1100, seed=0):
        store = LabelStore(tmp_path / f"{len(made)}.db", labels=labels)
        tasks = [task if isinstance(task, Task) else Task(task) for task in tasks]
        store.add_tasks(tasks)
        widget = LabelWidget(store, seed=seed)
        order = [str(task.task_hash) for task in tasks]
        widget._offered.sort(key=lambda item: order.index(item["key"].split(".")[0]))
        widget._set += 1
        widget._flush()
        made.append(widget)
        return shown(widget, width=width)

    yield open_
    for widget in made:
        widget.close()
        widget.store.close()


BOX = """(word) => {  // where a word is drawn: [left, top, width, height]
  const place = document.querySelector(".scilab-text");
  const walk = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const at = walk.currentNode.data.indexOf(word);
    if (at < 0) continue;
    const range = document.createRange();
    range.setStart(walk.currentNode, at);
    range.setEnd(walk.currentNode, at + word.length);
    const box = range.getBoundingClientRect();
    return [box.left, box.top, box.width, box.height];
  }
}"""


def box(tab, word):
    return tab.page.evaluate(BOX, word)


def click(tab, word, times=1):
    left, top, width, height = box(tab, word)
    tab.page.mouse.click(left + width / 2, top + height / 2, click_count=times)
    return tab.settle()


def spans(tab):
    """What the page shows as labelled: [(text, tag)]."""
    return tab.page.evaluate("""() => [...document.querySelectorAll(".scilab-text mark")].map((mark) =>
      [mark.textContent, mark.dataset.tag])""")


def drag(tab, first, last):
    (left, top, _, high), (right, below, wide, tall) = box(tab, first), box(tab, last)
    tab.page.mouse.move(left + 3, top + high / 2)
    tab.page.mouse.down()
    tab.page.mouse.move(right + wide - 3, below + tall / 2, steps=6)
    tab.page.mouse.up()
    return tab.settle()


def keys(tab, *names):
    for name in names:
        tab.page.keyboard.press(name)
        tab.settle()


def kept(tab):
    """What is on disk: [(text, answer, [what is labelled, label])], the oldest first."""
    return [(a.task.text, a.answer, [(a.task.text[s.start:s.end], s.label) for s in a.spans])
            for a in tab.panel.store.answered("me")]  # fmt: skip


def test_a_click_a_drag_and_keys_make_the_spans_that_are_kept(desk):
    tab = desk("Give lopinavir/ritonavir or remdesivir daily.", "Second text.", "Third.")
    click(tab, "remdesivir")
    drag(tab, "lopinavir", "ritonavir")
    assert spans(tab) == [["lopinavir/ritonavir", "DRUG"], ["remdesivir", "DRUG"]]
    click(tab, "remdesivir")  # again: no longer
    assert spans(tab) == [["lopinavir/ritonavir", "DRUG"]]
    keys(tab, "2")
    click(tab, "daily", times=2)  # a double click labels too, once
    keys(tab, "a")
    assert tab.text(".scilab-text") == "Second text."
    keys(tab, "x")
    keys(tab, " ")
    assert kept(tab) == [
        ("Give lopinavir/ritonavir or remdesivir daily.", "accept",
         [("lopinavir/ritonavir", "DRUG"), ("daily", "DOSE")]),
        ("Second text.", "reject", []), ("Third.", "ignore", []),
    ]  # fmt: skip
    assert tab.text(".scilab-empty-desk").startswith("All 3 texts are answered.")
    assert tab.text(".scilab-progress-text").startswith("3 of 3 texts · 2 spans")


def test_undo_goes_through_the_spans_and_then_the_answers_without_end(desk):
    tab = desk("One aspirin.", "Two ibuprofen.", "Three.")
    click(tab, "aspirin")
    keys(tab, "a")
    click(tab, "ibuprofen")
    keys(tab, "a")
    keys(tab, "Backspace")
    assert (tab.text(".scilab-text"), spans(tab)) == ("Two ibuprofen.", [["ibuprofen", "DRUG"]])
    keys(tab, "Control+z")
    assert (tab.text(".scilab-text"), spans(tab)) == ("One aspirin.", [["aspirin", "DRUG"]])
    assert kept(tab) == []
    click(tab, "aspirin")
    keys(tab, "Backspace")  # the removed span comes back
    assert spans(tab) == [["aspirin", "DRUG"]]
    keys(tab, "Backspace")
    assert tab.page.locator(".scilab-aloud").text_content() == "There is no answer of yours to take back."
    keys(tab, "a")
    assert (tab.text(".scilab-text"), spans(tab)) == ("Two ibuprofen.", [["ibuprofen", "DRUG"]])


def test_without_a_mouse(desk):
    tab = desk("Give lopinavir / ritonavir or remdesivir daily.", "Next.")
    tab.page.locator(".scilab-text").focus()
    keys(tab, "ArrowRight", "ArrowRight")
    assert tab.page.locator(".scilab-here").inner_text() == "lopinavir"
    assert tab.page.locator(".scilab-aloud").text_content() == "lopinavir"
    keys(tab, "Shift+ArrowRight", "Shift+ArrowRight", "Enter")
    assert spans(tab) == [["lopinavir / ritonavir", "DRUG"]]
    assert tab.page.locator(".scilab-aloud").text_content() == "“lopinavir / ritonavir” is labelled DRUG."
    keys(tab, "ArrowRight", "ArrowRight", "2")
    assert spans(tab)[1] == ["remdesivir", "DOSE"]
    keys(tab, "1")  # on a span: it changes its label
    assert spans(tab)[1] == ["remdesivir", "DRUG"]
    keys(tab, "Home", "End", "ArrowLeft", "ArrowLeft", "Delete")
    assert spans(tab) == [["lopinavir / ritonavir", "DRUG"]]
    assert tab.page.locator(".scilab-here").inner_text() == "remdesivir"
    keys(tab, "?")
    assert tab.page.locator(".scilab-help").is_visible()
    keys(tab, "Escape", "a")
    assert tab.page.locator(".scilab-help").is_hidden()
    assert kept(tab) == [
        ("Give lopinavir / ritonavir or remdesivir daily.", "accept", [("lopinavir / ritonavir", "DRUG")])]


def test_keys_and_typing_stay_inside(desk):
    tab = desk("One.", "Two.")
    tab.page.evaluate("""() => { window.leaked = []; for (const way of [true, false])
      document.addEventListener("keydown", (e) => { if (!way) leaked.push(e.key); }, way); }""")
    assert tab.page.locator(".scilab-desk").get_attribute("data-lm-suppress-shortcuts") == "true"
    tab.page.locator(".scilab-text").focus()
    keys(tab, "d", "d", "ArrowRight", "1", "z")
    tab.page.get_by_label("Guidelines").click()
    tab.page.keyboard.type("a x 1 only drugs ")
    tab.page.get_by_label("Annotator").click()
    tab.settle()
    assert tab.page.evaluate("() => leaked") == []
    assert tab.panel.store.guidelines == "a x 1 only drugs"
    assert kept(tab) == []
    tab.page.evaluate("() => document.activeElement.blur()")
    keys(tab, "a")
    assert tab.page.evaluate("() => leaked") == ["a"]  # outside, a key is nobody's but JupyterLab's
    assert kept(tab) == []


def test_offsets_are_code_points_and_an_emoji_is_one_thing(desk):
    suggested = Task(EMOJI, (Span(EMOJI.index("ibuprofen"), EMOJI.index("ibuprofen") + 9, "DRUG"),))
    tab = desk(suggested, ARABIC)
    assert spans(tab) == [["ibuprofen", "DRUG"]]
    click(tab, "aspirin")
    click(tab, "👩‍🔬")
    keys(tab, "a")
    assert kept(tab) == [(EMOJI, "accept", [("👩‍🔬", "DRUG"), ("aspirin", "DRUG"), ("ibuprofen", "DRUG")])]
    (first, second, _) = tab.panel.store.answered("me")[0].spans
    assert (first.start, first.end, second.start) == (4, 7, 16)  # in UTF-16: 4, 9 and 20
    assert tab.page.evaluate("() => getComputedStyle(document.querySelector('.scilab-text')).direction") == "rtl"
    tab.page.locator(".scilab-text").focus()
    keys(tab, "ArrowLeft", "ArrowLeft", "Enter", "a")  # in such a text, on is to the left
    assert kept(tab)[1] == (ARABIC, "accept", [("هيدروكسي", "DRUG")])


def test_whole_words_can_be_switched_off(desk):
    tab = desk("favipiravir-treated patients")
    tab.page.get_by_label("Whole words").uncheck()
    tab.page.wait_for_timeout(150)
    tab.settle()
    left, top, width, height = box(tab, "favipiravir")
    tab.page.mouse.move(left + 1, top + height / 2)
    tab.page.mouse.down()
    tab.page.mouse.move(left + width / 2, top + height / 2, steps=4)
    tab.page.mouse.up()
    ((text, _),) = spans(tab)
    assert text != "favipiravir" and "favipiravir".startswith(text)


def test_what_overlaps_is_replaced_and_said(desk):
    tab = desk("Give lopinavir and ritonavir.")
    click(tab, "lopinavir")
    drag(tab, "Give", "and")
    assert spans(tab) == [["Give lopinavir and", "DRUG"]]
    assert "in place of what it overlaps" in tab.page.locator(".scilab-aloud").text_content()


def test_the_next_text_is_there_at_once_and_long_ones_behave(desk, capsys):
    texts = [f"{n}. {LONG}"[:5000] for n in range(12)]
    tab = desk(*texts)
    tab.page.evaluate(PACE)
    tab.page.locator(".scilab-text").focus()
    for n in range(10):  # nothing is carried to the kernel meanwhile
        tab.page.keyboard.press("a")
        tab.page.wait_for_function(f"() => pace.length > {n}")
    pace = sorted(tab.page.evaluate("() => pace"))
    assert tab.text(".scilab-saved") == "10 not saved yet"
    tab.settle()
    assert tab.text(".scilab-saved") == "all saved"
    assert [text for text, _, _ in kept(tab)] == texts[:10]
    with capsys.disabled():
        print(f"\nnext text of 5,000 characters on screen after {pace[len(pace) // 2]:.0f} ms (median of {len(pace)}), "
              f"{pace[-1]:.0f} ms at most")  # fmt: skip
    assert tab.page.locator(".scilab-text").bounding_box()["height"] < 560


def test_an_answer_that_arrives_twice_is_one_and_what_was_not_saved_is_sent_again(desk, shown):
    tab = desk("One.", "Two.", "Three.")
    tab.page.locator(".scilab-text").focus()
    tab.page.keyboard.press("a")
    (message,) = tab.page.evaluate("() => sent.splice(0)")
    tab.panel._handle_custom_msg(message["content"], [])
    tab.panel._handle_custom_msg(message["content"], [])
    tab.settle()
    assert [text for text, _, _ in kept(tab)] == ["One."]
    tab.page.keyboard.press("x")
    tab.page.evaluate("() => sent.splice(0)")  # the kernel dies before it hears of it
    stored = tab.page.evaluate("() => Object.fromEntries(Object.entries(localStorage))")
    (args,) = json.loads(next(iter(stored.values())))
    assert args["answer"] == "reject"
    tab.page.evaluate("""() => { leave(); document.getElementById("place").replaceChildren(); }""")
    again = LabelWidget(tab.panel.store)
    tab.page.evaluate("state => Object.assign(model.state, state)",
                      {name: value for name, value in again.get_state().items() if not name.startswith("_")})
    tab.page.evaluate("""async (code) => {
      const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
      window.leave = (await import(url)).default.render({ model, el: document.getElementById("place") });
    }""", again.get_state()["_esm"])
    assert tab.text(".scilab-text") == "Three."
    tab.settle()
    assert [(text, answer) for text, answer, _ in kept(tab)] == [("One.", "accept"), ("Two.", "reject")]
    assert tab.page.evaluate("() => localStorage.length") == 0
    again.close()


def test_an_answer_that_cannot_be_kept_is_said_and_not_lost(desk, monkeypatch):
    tab = desk("One.", "Two.")
    answer = tab.panel.store.answer

    def full(*given, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tab.panel.store, "answer", full)
    tab.page.locator(".scilab-text").focus()
    keys(tab, "a")
    assert "1 not saved: [Errno 28] No space left on device" in tab.text(".scilab-problem")
    monkeypatch.setattr(tab.panel.store, "answer", answer)
    tab.press("Try again")
    assert tab.page.locator(".scilab-problem").is_hidden()
    assert [text for text, _, _ in kept(tab)] == ["One."]
