"""The harness itself, on a notebook that works and on notebooks that are broken on purpose."""

import time
import urllib.error
import urllib.request

import nbformat
import pytest
from PIL import Image, ImageStat

COUNTER = """
import ipywidgets
button, count = ipywidgets.Button(description="Count up"), ipywidgets.Label("clicks: 0")
def up(_): count.value = f"clicks: {int(count.value.split()[1]) + 1}"
button.on_click(up)
ipywidgets.VBox([button, count])
"""
# A widget with a module of its own: the button sets a traitlet in the page, Python answers with its square.
SQUARE = """
import anywidget, traitlets
class Square(anywidget.AnyWidget):
    _esm = '''export default { render({ model, el }) {
      el.innerHTML = "<button>Add one</button> <output></output>";
      const [button, output] = el.children;
      const show = () => { output.textContent = `square: ${model.get("square")}`; };
      button.onclick = () => { model.set("x", model.get("x") + 1); model.save_changes(); };
      model.on("change:square", show); show();
    } };'''
    x, square = traitlets.Int(2).tag(sync=True), traitlets.Int(4).tag(sync=True)
    @traitlets.observe("x")
    def _(self, change): self.square = change.new**2
Square()
"""
RAISES = """
import ipywidgets
button = ipywidgets.Button(description="Break")
button.on_click(lambda _: 1 / 0)
button
"""
THREAD = "import threading; threading.Thread(target=lambda: [][0]).start()"
OFFSITE = """
import anywidget
class Far(anywidget.AnyWidget):
    _esm = "import * as d3 from 'https://cdn.example.org/d3.js'; export default { render() {} };"
Far()
"""


def look_of(path):
    """(width, height) of a screenshot, and the mean brightness of its lower left corner, 0 to 255."""
    with Image.open(path) as image:
        corner = image.convert("L").crop((0, image.height - 40, 40, image.height))
        return image.size, ImageStat.Stat(corner).mean[0]


def until_heard(lab_page):
    """Wait for the first error outside the cells: it takes another way than the cells' outputs."""
    deadline = time.monotonic() + 10
    while not lab_page.heard() and time.monotonic() < deadline:
        lab_page.page.wait_for_timeout(50)
    return lab_page.problems()


def test_clicks_reach_the_kernel_and_its_answers_the_page(probe, lab_page):
    probe(COUNTER, SQUARE)
    lab_page.click("Count up").click("Count up").expect("clicks: 2")
    lab_page.click("Add one").expect("square: 9")
    assert lab_page.problems() == []


def test_a_reload_keeps_the_kernel_and_a_restart_does_not(probe, lab_page, lab_server):
    probe(COUNTER, "1", "2")
    written = (lab_server.root / "probe.ipynb").read_bytes()
    lab_page.click("Count up").expect("clicks: 1")
    lab_page.reload()
    assert [cell.ran for cell in lab_page.cells()] == [False] * 3, "an unsaved page forgets its outputs"
    lab_page.run_all().click("Count up").expect("clicks: 1")
    assert lab_page.cells()[-1].count == 6, "the kernel went on"
    lab_page.restart_kernel().run_all()
    assert lab_page.cells()[-1].count == 3, "the kernel is new"
    assert (lab_server.root / "probe.ipynb").read_bytes() == written, "nothing is saved unasked"
    assert lab_page.problems() == []


def test_a_screenshot_holds_the_whole_notebook_in_either_theme(probe, lab_page, tmp_path):
    probe("print('line\\n' * 80)")
    light_size, light = look_of(lab_page.screenshot(tmp_path / "light.png"))
    lab_page.set_theme("JupyterLab Dark")
    dark_size, dark = look_of(lab_page.screenshot(tmp_path / "dark.png"))
    assert light_size[1] > 80 * 15 and dark_size == light_size, "taller than the window of 900 pixels"
    assert light > 200 and dark < 60
    assert lab_page.page.viewport_size["height"] == 900
    assert lab_page.problems() == []


def test_a_callback_that_raises_is_a_problem(probe, lab_page):
    probe(RAISES)
    assert lab_page.problems() == []
    lab_page.click("Break")
    assert until_heard(lab_page) == ["a widget callback raised ZeroDivisionError: division by zero"]
    lab_page.reload()
    assert lab_page.problems() == ["a widget callback raised ZeroDivisionError: division by zero"]


def test_a_thread_that_raises_is_a_problem(probe, lab_page):
    probe(THREAD)
    assert until_heard(lab_page) == ["a traceback was printed: IndexError: list index out of range"]


def test_a_request_for_another_host_is_a_problem(probe, lab_page):
    probe(OFFSITE)
    lab_page.page.wait_for_timeout(500)
    assert lab_page.offsite == ["https://cdn.example.org/d3.js"]
    assert "asked another host: https://cdn.example.org/d3.js" in lab_page.problems()


def test_a_cell_that_raises_is_a_problem_and_stops_the_others(probe, lab_page):
    probe("a = 1", "a / 0", "b = 2")
    assert lab_page.problems() == ["cell 2: ZeroDivisionError: division by zero"]
    assert [cell.ran for cell in lab_page.cells()] == [True, True, False]


def test_a_kernel_nobody_has_is_an_error(lab_server, lab_page):
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "mine", "display_name": "Mine"}})
    notebook.cells = [nbformat.v4.new_code_cell("1")]
    nbformat.write(notebook, lab_server.root / "mine.ipynb")
    with pytest.raises(RuntimeError, match="(?i)JupyterLab asks: Select kernel"):
        lab_page.open("mine.ipynb")


def test_the_server_asks_for_its_token(lab_server):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{lab_server.url}/api/contents")
