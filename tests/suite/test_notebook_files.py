"""What every committed notebook keeps to; running them is the matter of tests/notebooks and tests/browser."""

from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINES = 12  # logic belongs in src/scilab


def problems(notebook):
    """What is wrong with a notebook, in words; an empty list when it keeps to the rules."""
    found = []
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        found.append(f"kernel {kernel!r}: any name but python3 makes JupyterLab ask which to use")
    if "widgets" in notebook.metadata:
        found.append("holds widget state")
    if not notebook.cells or "Run ▸ Run All Cells" not in notebook.cells[0].source:
        found.append('the first cell does not say "Run ▸ Run All Cells"')
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code":
            continue
        if cell.outputs or cell.execution_count is not None:
            found.append(f"cell {number} holds outputs")
        if len(cell.source.splitlines()) > LINES:
            found.append(f"cell {number} has {len(cell.source.splitlines())} lines, {LINES} at most")
    return found


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_to_the_rules(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert problems(notebook) == []


def test_each_rule_can_fail():
    bad = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "mine", "display_name": "Mine"}, "widgets": {}}
    )
    bad.cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell("\n".join("x = 1" for _ in range(13))),
        nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text="1")]),
    ]
    assert [text.split()[0:2] for text in problems(bad)] == [
        ["kernel", "'mine':"], ["holds", "widget"], ["the", "first"], ["cell", "2"], ["cell", "3"],
    ]  # fmt: skip
