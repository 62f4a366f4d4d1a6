"""A person draws a tree in JupyterLab, drags a subtree, launches, pauses, resumes and compares two runs.

Pictures go to the folder named by SCILAB_SHOTS, if it is set: look at them.
"""

import os
from pathlib import Path

PANEL = "from scilab.widgets import FederationWidget\npanel = FederationWidget()\npanel"
LOOKS = [("JupyterLab Dark", 900), ("JupyterLab Light", 1280)]
OVERFLOW = """() => [...document.querySelectorAll(".scilab-panel")].map((it) => it.scrollWidth - it.clientWidth)"""


class Person:
    """What a person does with the panel on the page."""

    def __init__(self, lab_page, folder):
        self.lab, self.page, self.folder = lab_page, lab_page.page, folder
        self.panel = self.page.locator(".scilab-panel")

    def press(self, name):
        self.panel.get_by_role("button", name=name, exact=True).first.click()

    def fill(self, label, text):
        self.panel.get_by_role("spinbutton", name=label).fill(text)

    def choose(self, label, value):
        self.panel.get_by_role("combobox", name=label).select_option(value)

    def node(self, name):
        found = self.panel.locator(f'.scilab-tree [data-at][aria-label^="{name}:"]')
        found.wait_for()
        return found

    def middle(self, name):
        box = self.node(name).locator("circle, rect, path").first.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def click(self, name):
        self.page.mouse.click(*self.middle(name))
        self.panel.locator(".scilab-side strong", has_text=name).wait_for()

    def drag(self, name, target):
        self.page.mouse.move(*self.middle(name))
        self.page.mouse.down()
        self.page.mouse.move(*self.middle(target), steps=10)
        self.page.mouse.up()

    def level(self, name, tier):
        """Wait until the node stands in this tier, from 0."""
        self.panel.locator(f'.scilab-tree [data-at^="{tier}:"][aria-label^="{name}:"]').wait_for()

    def status(self, word, timeout_s=60):
        self.panel.locator(f".scilab-title .scilab-is-{word}").first.wait_for(timeout=timeout_s * 1000)

    def rounds(self, least):
        self.page.wait_for_function(
            "(least) => parseInt(document.querySelector('.scilab-progress-text').textContent) >= least", arg=least
        )

    def shot(self, name):
        """Pictures in a wide window and light, and in a narrow one and dark."""
        self.page.mouse.move(0, 0)
        for theme, width in LOOKS:
            self.lab.set_theme(theme).set_width(width)
            assert max(self.page.evaluate(OVERFLOW)) <= 1
            self.lab.screenshot(self.folder / f"{name}-{theme.split()[-1]}-{width}.png")


def test_a_tree_of_three_tiers_is_drawn_launched_paused_resumed_and_compared(probe, lab_page, tmp_path):
    probe(PANEL)
    lab_page.page.evaluate("() => jupyterapp.shell.collapseLeft()")
    person = Person(lab_page, Path(os.environ.get("SCILAB_SHOTS", tmp_path)))
    page, panel = person.page, person.panel
    person.shot("empty")
    person.choose("Shape", "flat")
    person.fill("Devices", "4")
    person.level("w3", 1)
    panel.locator(".scilab-tree").scroll_into_view_if_needed()

    person.click("coordinator")
    person.press("Add aggregator")
    person.level("a0", 1)
    panel.get_by_text("aggregator 'a0' has no worker below it; give it one or remove it").wait_for()
    person.shot("not-whole")
    person.press("Add aggregator")
    person.level("a1", 2)
    person.drag("w0", "a1")
    person.level("w0", 3)
    person.drag("w1", "a0")
    person.level("w1", 2)
    person.drag("a0", "a1")
    panel.get_by_text("'a0' cannot hang below 'a1', which is below it: that would be a cycle.").wait_for()
    person.shot("cycle")
    person.drag("a1", "coordinator")  # a subtree
    person.level("a1", 1)
    person.level("w0", 2)
    person.drag("a1", "a0")
    person.level("w0", 3)
    person.click("a1")
    panel.get_by_role("textbox", name="Name").fill("a laboratory with a very long name, far in the north")
    person.level("a laboratory with a very long name, far in the north", 2)

    person.fill("Rounds", "60")
    person.press("Launch")
    person.shot("starting")
    person.rounds(2)
    person.shot("running")
    panel.get_by_text("The tree is fixed while the run goes on.").wait_for()
    person.press("Pause")
    person.status("paused")
    held = panel.locator(".scilab-progress-text").inner_text().split()[0]
    page.wait_for_timeout(600)
    assert panel.locator(".scilab-progress-text").inner_text().split()[0] == held
    person.shot("paused")
    person.press("Resume")
    person.status("finished")
    person.shot("finished")

    person.press("Edit the tree")
    person.status("ready")
    person.choose("Engine", "virtual")
    person.fill("Slow devices", "25")
    panel.locator('.scilab-tree [data-at="0"]').click()
    person.choose("Policy", "buffered")
    person.fill("Buffer", "2")
    panel.locator(".scilab-tree", has_text="buffered, 2").wait_for()
    person.fill("Rounds", "20")
    person.press("Launch")
    person.status("finished")
    person.shot("buffered")
    panel.locator("summary", has_text="Runs (2").click()
    for box in panel.get_by_role("checkbox", name="Choose").all():
        box.check()
    person.press("Compare")
    panel.get_by_text("Settings that differ").wait_for()
    charts = {"Accuracy over time": 2, "Bytes moved, by tier": 1, "Staleness of updates (versions)": 1}
    for title, count in charts.items():  # real seconds and simulated ones have a chart each
        assert panel.locator(".scilab-chart:visible", has_text=title).count() == count
    person.shot("compared")
    person.press("Close comparison")
    assert lab_page.problems() == []


def test_2048_workers_train_on_the_page(probe, lab_page, tmp_path):
    probe(PANEL, "panel.set(devices=2048, fanouts='16', partition='resample', rows=4, rounds=3, strategy='fedsgd')")
    lab_page.page.evaluate("() => jupyterapp.shell.collapseLeft()")
    person = Person(lab_page, Path(os.environ.get("SCILAB_SHOTS", tmp_path)))
    bars = person.panel.locator(".scilab-tree .scilab-bar")
    person.page.wait_for_function("() => document.querySelectorAll('.scilab-tree .scilab-bar').length === 16")
    bars.nth(3).dblclick()
    person.level("w400", 2)
    person.press("Launch")
    person.status("finished", 120)
    person.panel.locator(".scilab-tile-value", has_text="2,048 of 2,048").wait_for()
    person.shot("2048")
    assert lab_page.problems() == []
