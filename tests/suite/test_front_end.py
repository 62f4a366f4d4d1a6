"""The front end works without a network: no module, style or notebook asks another host for anything."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for kind in ("*.js", "*.css") for path in (ROOT / "src").rglob(kind))
# A namespace such as http://www.w3.org/2000/svg is a name that no browser ever fetches.
NAMESPACE = re.compile(r"http://www\.w3\.org/[0-9]{4}/(svg|xlink|xhtml)")
REMOTE = re.compile(r"""https?:\/\/[\w.]|["'`(]\/\/[\w.]|\bwss?:\/\/""")
STATIC = re.compile(
    r"""(?:^|[\s;}])(?:import\s*|(?:import|export)\b[^"'`;()=]*?\bfrom\s*)["'`]([^"'`]+)["'`]"""
)
DYNAMIC = re.compile(r"""\bimport\(\s*["'`]([^"'`]+)["'`]""")


def remote(text):
    """The addresses of other hosts in a module or style sheet."""
    return REMOTE.findall(NAMESPACE.sub("", text))


def imports(text):
    """What a module imports, statically or not."""
    return STATIC.findall(text) + DYNAMIC.findall(text)


def test_no_file_names_another_host():
    assert {path.name: found for path in FILES if (found := remote(path.read_text(encoding="utf-8")))} == {}


def test_modules_import_only_their_neighbours():
    """A bare name would need a bundler or a CDN."""
    for path in FILES:
        if path.suffix == ".js":
            names = imports(path.read_text(encoding="utf-8"))
            assert [name for name in names if not name.startswith("./")] == [], path.name


def test_the_check_sees_what_it_should():
    assert remote('import x from "https://cdn.example/x.js"') and remote("url(//fonts.example/a.woff)")
    assert not remote('document.createElementNS("http://www.w3.org/2000/svg", "g") // a comment')
    assert imports('import * as d3 from "d3";\nimport "./a.js"') == ["d3", "./a.js"]
    assert imports('const m = await import("lodash");\nexport const c = "red";') == ["lodash"]
