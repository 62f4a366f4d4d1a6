"""The notebooks as a person meets them: opened, run, launched, stopped, reloaded, resumed, in both themes.

Pictures go to the folder named by SCILAB_SHOTS, if it is set: look at them.
"""

import os
from pathlib import Path

import pytest

THEMES = ["JupyterLab Light", "JupyterLab Dark"]
PANEL = ".scilab-panel"


@pytest.fixture
def shots(tmp_path, request):
    """Save a picture under the name of the test."""
    folder = Path(os.environ.get("SCILAB_SHOTS", tmp_path))

    def save(lab_page, name):
        return lab_page.screenshot(folder / f"{request.node.name}-{name}.png".replace(" ", "_"))

    return save


def panel(lab_page, number=0):
    return lab_page.page.locator(PANEL).nth(number)


def expect_status(lab_page, word, number=0, timeout_s=60):
    panel(lab_page, number).locator(f".scilab-title .scilab-is-{word}").first.wait_for(timeout=timeout_s * 1000)


def press(lab_page, name, number=0):
    panel(lab_page, number).get_by_role("button", name=name, exact=True).first.click()


def rounds_done(lab_page, number=0):
    text = panel(lab_page, number).locator(".scilab-progress-text").inner_text()
    return int(text.split()[0])


def wait_rounds(lab_page, least, number=0):
    lab_page.page.wait_for_function(
        """([number, least]) => parseInt(document.querySelectorAll(".scilab-panel")[number]
           .querySelector(".scilab-progress-text").textContent) >= least""",
        arg=[number, least],
        timeout=60_000,
    )


def save(lab_page):
    lab_page.page.evaluate("jupyterapp.commands.execute('docmanager:save')")


def no_overflow(lab_page):
    """Nothing scrolls sideways inside a panel."""
    wide = lab_page.page.evaluate(
        f"""() => [...document.querySelectorAll("{PANEL}")].map(it => it.scrollWidth - it.clientWidth)"""
    )
    assert max(wide) <= 1, wide


def in_every_look(lab_page, shots, name):
    """Pictures in both themes at both widths."""
    for theme in THEMES:
        for width in (1280, 900):
            lab_page.set_theme(theme).set_width(width)
            no_overflow(lab_page)
            shots(lab_page, f"{name}-{theme}-{width}")


def test_welcome(lab_page, shots):
    lab_page.open("00_welcome.ipynb").run_all()
    lab_page.expect("Engine of processes")
    lab_page.expect("first result after")
    for theme in THEMES:
        lab_page.set_theme(theme)
        no_overflow(lab_page)
        shots(lab_page, f"welcome-{theme}")
    assert lab_page.problems() == []


def test_launch_stop_reload_resume(lab_page, shots):
    lab_page.open("01_federations.ipynb").run_all()
    assert lab_page.problems() == []
    panel(lab_page).get_by_role("spinbutton", name="Rounds").fill("400")
    press(lab_page, "Launch")
    wait_rounds(lab_page, 3)
    shots(lab_page, "running")
    press(lab_page, "Pause")
    expect_status(lab_page, "paused")
    held = rounds_done(lab_page)
    lab_page.page.wait_for_timeout(700)
    assert rounds_done(lab_page) == held
    press(lab_page, "Resume")
    wait_rounds(lab_page, held + 2)
    press(lab_page, "Stop")
    expect_status(lab_page, "stopped")
    stopped = rounds_done(lab_page)
    save(lab_page)
    lab_page.reload()
    expect_status(lab_page, "stopped")  # the same picture, from the kernel's journal
    assert rounds_done(lab_page) == stopped
    press(lab_page, "Resume")
    wait_rounds(lab_page, stopped + 2)
    press(lab_page, "Stop")
    expect_status(lab_page, "stopped")
    in_every_look(lab_page, shots, "resumed")
    assert lab_page.problems() == []


def test_a_restarted_kernel_offers_the_interrupted_run(lab_page, shots):
    lab_page.open("01_federations.ipynb").run_all()
    panel(lab_page).get_by_role("spinbutton", name="Rounds").fill("60")
    press(lab_page, "Launch")
    wait_rounds(lab_page, 3)
    lab_page.restart_kernel()
    lab_page.run_all()
    panel(lab_page).get_by_text("was interrupted at").wait_for()
    shots(lab_page, "offered")
    panel(lab_page).locator(".scilab-notice").get_by_role("button", name="Resume").click()
    expect_status(lab_page, "finished", timeout_s=90)
    assert rounds_done(lab_page) == 60
    assert lab_page.problems() == []


def test_a_mistake_stands_beside_its_field(lab_page, shots):
    lab_page.open("01_federations.ipynb").run_all()
    field = panel(lab_page).get_by_role("spinbutton", name="Devices")
    field.fill("100000")
    panel(lab_page).get_by_text("At most 1,437").wait_for()
    assert panel(lab_page).get_by_role("button", name="Launch", exact=True).first.is_disabled()
    shots(lab_page, "mistake")
    field.fill("16")
    panel(lab_page).get_by_text("At most 1,437").wait_for(state="hidden")
    assert lab_page.problems() == []
