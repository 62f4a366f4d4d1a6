"""Putting a widget's page modules together.

anywidget takes one ES module as text. Ours are several small files which import each other by relative path; `bundle`
wraps each in a function and hands it the names it imports. It understands exactly the three forms the files use, at
the start of a line: ``import { a, b } from "./x.js";``, ``export function name`` and ``export const name``. Anything
else that begins with import or export is refused, so that a mistake shows up here and not as a blank cell.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "(\./[\w.]+)";$', re.M)
_EXPORT = re.compile(r"^export ((?:async )?function|const) (\w+)", re.M)
_OTHER = re.compile(r"^(?:import|export)\b.*$", re.M)


@cache
def bundle(entry: Path) -> str:
    """One ES module whose default export is ``widget`` of ``entry`` (a path to a .js file).

    Raises ValueError where a file uses a form that is not understood, or where files import each other in a circle.
    """
    done: dict[Path, str] = {}
    parts: list[str] = []
    _add(entry.resolve(), done, (), parts)
    return "\n".join([*parts, f"export default {done[entry.resolve()]}.widget;", ""])


def _add(path: Path, done: dict[Path, str], above: tuple[Path, ...], parts: list[str]) -> str:
    if path in above:
        raise ValueError(f"{path.name} imports itself through {' > '.join(p.name for p in above)}")
    if path in done:
        return done[path]
    source = path.read_text(encoding="utf-8")

    def imported(match: re.Match) -> str:
        return f"const {{ {match[1]} }} = {_add((path.parent / match[2]).resolve(), done, (*above, path), parts)};"

    body = _IMPORT.sub(imported, source)
    names = [match[2] for match in _EXPORT.finditer(body)]
    body = _EXPORT.sub(r"\1 \2", body)
    if stray := _OTHER.search(body):
        raise ValueError(f"{path.name}: “{stray[0]}” is not one of the forms understood (see {__name__})")
    name = f"module{len(done)}"
    done[path] = name
    parts.append(f"// {path.name}\nconst {name} = (() => {{\n{body}\nreturn {{ {', '.join(names)} }};\n}})();")
    return name
