"""Molecules drawn: SMILES → SVG, in colours that read on a light and on a dark page."""

from __future__ import annotations

from functools import lru_cache

WIDE, HIGH = 150, 100
INK = "#404040"  # becomes the page's own colour of text
ATOMS = {7: "#0072B2", 8: "#D55E00", 9: "#009E73"}  # N, O, F in Okabe's and Ito's blue, vermilion and green


@lru_cache(maxsize=2000)
def drawn(smiles: str) -> str:
    """The structure as SVG text of 150 × 100 pixels, transparent; "" for what is no molecule."""
    from rdkit import Chem, rdBase
    from rdkit.Chem.Draw import rdMolDraw2D

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        return ""
    drawer = rdMolDraw2D.MolDraw2DSVG(WIDE, HIGH)
    options = drawer.drawOptions()
    options.clearBackground = False
    options.setAtomPalette({-1: _rgb(INK), **{number: _rgb(colour) for number, colour in ATOMS.items()}})
    options.bondLineWidth, options.fixedBondLength, options.padding = 1.6, 26, 0.08
    options.explicitMethyl = molecule.GetNumHeavyAtoms() < 3  # one line alone would not be read as a molecule
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule)
    drawer.FinishDrawing()
    svg = drawer.GetDrawingText()
    return svg[svg.index("<svg"):].replace(INK, "currentColor")


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple((int(colour[at:at + 2], 16) + 0.5) / 255 for at in (1, 3, 5))  # RDKit rounds down
