"""A user's own molecules."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SHOWN = 10


def read_smiles(source: str | Path | Iterable[str]) -> list[str]:
    """Canonical SMILES of a file's lines (or of lines given), each molecule once, in their order.

    A line holds a SMILES and, after white space or a comma, anything else; empty lines, those that begin with # and a
    first line "smiles" are passed over.

    Raises:
        ValueError: lines that are no SMILES, all of them by number; salts and mixtures; or no molecule at all.
    """
    from rdkit import Chem, rdBase

    lines = Path(source).read_text().splitlines() if isinstance(source, str | Path) else list(source)
    found, bad = {}, []
    with rdBase.BlockLogs():
        for number, line in enumerate(lines, 1):
            words = line.replace(",", " ").split()
            if not words or words[0].startswith("#") or (number == 1 and words[0].lower() == "smiles"):
                continue
            molecule = Chem.MolFromSmiles(words[0])
            if molecule is None or not molecule.GetNumAtoms():
                bad.append(f"line {number}: {words[0][:40]!r} is no SMILES")
            elif "." in Chem.MolToSmiles(molecule):
                bad.append(f"line {number}: {words[0][:40]!r} is more than one molecule")
            else:
                found[Chem.MolToSmiles(molecule)] = None
    if bad:
        more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise ValueError("; ".join(bad[:SHOWN]) + more + ". Mend or remove them")
    if not found:
        raise ValueError("there is no molecule in it: give one SMILES a line")
    return list(found)
