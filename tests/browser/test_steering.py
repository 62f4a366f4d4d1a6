"""The notebook of campaigns as a person meets it: launched, steered by hand, stopped, reloaded, resumed, compared."""

import pytest
from test_notebooks import THEMES, expect_status, no_overflow, panel, press, rounds_done, save, shots, wait_rounds  # noqa: F401

STEERED = """() => [...document.querySelector(".scilab-panel").querySelectorAll(".scilab-chart")]
  .find((it) => it.textContent.includes("Hits, by time")).querySelectorAll(".scilab-act").length"""


def part(lab_page, name):
    return panel(lab_page).locator("section", has_text=name).last


def marked(lab_page, count):
    """Wait until so many acts stand on a plot."""
    lab_page.page.wait_for_function(f"() => ({STEERED})() >= {count}")


@pytest.mark.parametrize("theme", THEMES)
def test_a_campaign_is_steered_stopped_and_resumed(probe, lab_page, shots, theme):  # noqa: F811
    if theme == THEMES[0]:
        lab_page.open("02_steering.ipynb").set_theme(theme).run_all()
    else:
        probe("from scilab.widgets import SteeringWidget\nSteeringWidget()")
        lab_page.set_theme(theme)
    assert lab_page.problems() == []
    shots(lab_page, "all")
    box = panel(lab_page)
    box.get_by_role("combobox", name="Molecules").select_option("4")
    box.get_by_role("spinbutton", name="Budget (simulations)").fill("250")
    box.get_by_role("spinbutton", name="After every").fill("10")
    box.get_by_role("combobox", name="Policy").select_option("interleaved")
    press(lab_page, "Launch")
    wait_rounds(lab_page, 20)
    queue = part(lab_page, "Next in the queue, by model")
    queue.wait_for(timeout=60_000)
    press(lab_page, "Pause")  # these molecules take less time than a person
    expect_status(lab_page, "paused")
    ban = queue.get_by_role("button", name="Ban").last
    banned = ban.get_attribute("aria-label").split()[1]
    ban.click()
    box.get_by_role("button", name=f"unban {banned}").wait_for()
    molecule = box.get_by_role("textbox", name="Molecule")
    molecule.fill("C(C)(C)O")
    molecule.press("Enter")
    marked(lab_page, 2)
    box.get_by_role("combobox", name="Acquisition").last.select_option("greedy")
    box.get_by_role("button", name="Move one to learning").click()
    box.get_by_role("spinbutton", name="Threshold").last.fill("15")
    lab_page.page.keyboard.press("Enter")
    marked(lab_page, 5)
    molecule.fill("C1CC")
    box.get_by_role("button", name="Inject").click()
    box.get_by_text("'C1CC' is no SMILES").wait_for()
    press(lab_page, "Dismiss")
    press(lab_page, "Resume")
    wait_rounds(lab_page, rounds_done(lab_page) + 5)
    scatter = box.locator(".scilab-scatter").first
    scatter.focus()
    lab_page.page.keyboard.press("Home")
    box.locator(".scilab-tip svg").first.wait_for()
    shots(lab_page, "running")
    press(lab_page, "Stop")
    expect_status(lab_page, "stopped")
    stopped, acts = rounds_done(lab_page), lab_page.page.evaluate(STEERED)
    save(lab_page)
    lab_page.reload()
    expect_status(lab_page, "stopped")
    assert rounds_done(lab_page) == stopped
    marked(lab_page, acts)
    press(lab_page, "Resume")
    wait_rounds(lab_page, stopped + 3)
    press(lab_page, "Stop")
    expect_status(lab_page, "stopped")
    for width in (1280, 900):
        lab_page.set_width(width)
        no_overflow(lab_page)
        shots(lab_page, f"resumed-{width}")
    assert lab_page.problems() == []
