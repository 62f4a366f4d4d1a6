"""Molecules drawn: SMILES → SVG, in colours that read on a light and on a dark page."""

from __future__ import annotations

from functools import lru_cache

WIDE, HIGH = 150, 100
INK = (0.25, 0.25, 0.25)  # becomes the page's own colour of text
ATOMS = {7: (0, 0.447, 0.698), 8: (0.835, 0.369, 0), 9: (0, 0.62, 0.451)}  # N, O, F of Okabe and Ito


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
    options.setAtomPalette({-1: INK, **ATOMS})
    options.bondLineWidth, options.fixedBondLength, options.padding = 1.6, 26, 0.08
    options.explicitMethyl = molecule.GetNumHeavyAtoms() < 3  # one line alone would not be read as a molecule
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule)
    drawer.FinishDrawing()
    svg = drawer.GetDrawingText()
    return svg[svg.index("<svg"):].replace("#3F3F3F", "currentColor").replace("#404040", "currentColor")
