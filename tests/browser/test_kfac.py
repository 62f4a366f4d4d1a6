"""The K-FAC notebook as a person meets it: a race of three launched, its damping moved, stopped, reloaded, resumed."""

from test_notebooks import expect_status, in_every_look, panel, press, rounds_done, save, shots, wait_rounds  # noqa: F401


def chart(lab_page, title):
    return panel(lab_page).locator(".scilab-chart", has_text=title)


def test_a_race_is_steered_stopped_and_resumed(lab_page, shots):  # noqa: F811
    lab_page.open("04_kfac.ipynb").run_all()
    assert lab_page.problems() == []
    shots(lab_page, "all")
    panel(lab_page).get_by_role("spinbutton", name="Epochs", exact=True).fill("3000")
    press(lab_page, "Launch")
    wait_rounds(lab_page, 6)
    damping = panel(lab_page).get_by_role("slider", name="Damping λ")
    damping.focus()
    for _ in range(10):
        lab_page.page.keyboard.press("ArrowRight")
    panel(lab_page).locator(".scilab-act").first.wait_for(state="attached")
    marks = chart(lab_page, "Test loss by time").locator("title")
    assert marks.first.text_content().startswith("damping 0.")
    legend = chart(lab_page, "Test loss by epoch").locator(".scilab-legend").inner_text()
    assert legend.split("\n") == ["K-FAC + SGD", "SGD", "Adam"]
    interval = panel(lab_page).get_by_label("Decompose every", exact=True).last
    interval.fill("0")
    interval.press("Enter")
    panel(lab_page).get_by_text("decompose_every must be a whole number of steps from 1; got 0").wait_for()
    press(lab_page, "Dismiss")
    wait_rounds(lab_page, rounds_done(lab_page) + 3)
    shots(lab_page, "running")
    press(lab_page, "Stop")
    expect_status(lab_page, "stopped")
    stopped = rounds_done(lab_page)
    save(lab_page)
    lab_page.reload()
    expect_status(lab_page, "stopped")
    assert rounds_done(lab_page) == stopped
    assert chart(lab_page, "Test loss by time").locator("title").count() >= 1, "the marks are in the journal"
    press(lab_page, "Resume")
    wait_rounds(lab_page, stopped + 2)
    press(lab_page, "Stop")
    expect_status(lab_page, "stopped")
    in_every_look(lab_page, shots, "resumed")
    assert lab_page.problems() == []


def test_the_slider_trades_memory_for_traffic_before_anything_runs(lab_page, shots):  # noqa: F811
    lab_page.open("04_kfac.ipynb").run_all()
    box = panel(lab_page)
    told = box.get_by_text("ranks keep each layer's decomposition")
    slider = box.get_by_role("slider", name="Gradient workers")
    assert "8 of 8 ranks" in told.inner_text() and "COMM-OPT" in told.inner_text()
    slider.focus()
    lab_page.page.keyboard.press("Home")
    assert "1 of 8 ranks" in told.inner_text() and "MEM-OPT" in told.inner_text()
    box.get_by_label("Ranks", exact=True).last.select_option("2")
    slider.focus()
    lab_page.page.keyboard.press("Home")
    box.get_by_role("button", name="Use these").click()
    lab_page.page.wait_for_timeout(300)
    assert box.get_by_label("Ranks", exact=True).first.input_value() == "2"
    assert box.get_by_label("Gradient workers").first.input_value() == "0.5"
    box.get_by_label("Gradient workers").first.fill("0.3")
    box.get_by_text("with 2 ranks it must be one of 1/2, 1").wait_for()
    assert box.get_by_role("button", name="Launch", exact=True).first.is_disabled()
    shots(lab_page, "mistake")
    assert lab_page.problems() == []
