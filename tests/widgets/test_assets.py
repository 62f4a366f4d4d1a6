import re
from pathlib import Path

import pytest

import scilab.widgets
from scilab.widgets.assets import bundle

HERE = Path(scilab.widgets.__file__).parent


@pytest.fixture
def files(tmp_path):
    def write(**sources):
        for name, text in sources.items():
            (tmp_path / f"{name}.js").write_text(text)
        return tmp_path / "main.js"

    return write


def test_modules_are_wrapped_once_each_in_the_order_they_need(files):
    main = files(main='import { b } from "./b.js";\nimport { a } from "./a.js";\nexport const widget = a + b;\n',
                 b='import { a } from "./a.js";\nexport const b = a;\n',
                 a="const hidden = 1;\nexport function a() {}\n")
    text = bundle(main)
    assert text == (
        "// a.js\nconst module0 = (() => {\nconst hidden = 1;\nfunction a() {}\n\nreturn { a };\n})();\n"
        "// b.js\nconst module1 = (() => {\nconst { a } = module0;\nconst b = a;\n\nreturn { b };\n})();\n"
        "// main.js\nconst module2 = (() => {\nconst { b } = module1;\nconst { a } = module0;\n"
        "const widget = a + b;\n\nreturn { widget };\n})();\nexport default module2.widget;\n")


@pytest.mark.parametrize("line", [
    'import * as d3 from "https://cdn.example/d3.js";', 'import "./a.js";', "export default 3;", "export { a };",
    "export let a = 1;",
])  # fmt: skip
def test_a_form_that_is_not_understood_is_refused(files, line):
    with pytest.raises(ValueError, match="not one of the forms"):
        bundle(files(main=f"const a = 1;\n{line}\n"))


def test_a_circle_is_refused(files):
    with pytest.raises(ValueError, match="imports itself"):
        bundle(files(main='import { a } from "./a.js";\n', a='import { widget } from "./main.js";\n'))


@pytest.mark.parametrize("path", sorted(HERE.glob("*.js")), ids=lambda path: path.name)
def test_the_modules_ask_no_other_host(path):
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert "http:" not in text
    assert "https:" not in text
    assert "import(" not in text


def test_all_classes_are_ours():
    css = re.sub(r"/\*.*?\*/", "", (HERE / "panel.css").read_text(), flags=re.S)
    assert {name for name in re.findall(r"\.([a-zA-Z][\w-]*)", css) if not name.startswith("scilab-")} == set()
    for path in HERE.glob("*.js"):
        for classes in re.findall(r'class: [`"]([^`"$]*)', path.read_text()):
            assert all(name.startswith("scilab-") for name in classes.split()), (path.name, classes)
