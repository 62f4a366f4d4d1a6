"""Every small molecule of carbon, nitrogen, oxygen and fluorine that a chemist would not strike out at sight."""

from __future__ import annotations

from functools import cache
from itertools import combinations

LARGEST = 7
VALENCE = {"C": 4, "N": 3, "O": 2, "F": 1}
RINGS = 2

HOPELESS = {
    "three heteroatoms in a row": "[N,n,O,o,F]~[N,n,O,o]~[N,n,O,o,F]",
    "a peroxide": "[OX2]-[OX2]",
    "fluorine on nitrogen, oxygen or fluorine": "[N,n,O,F]-F",
    "a cumulene": "[*]=[C,N]=[*]",
    "a triple bond in a ring": "[*;R]#[*;R]",
    "a double bond in a ring of three": "[*;r3]=,:[*;r3]",
    "a double bond out of a ring of three": "[*;r3]=[*]",
    "a double bond at a bridgehead": "[C,N;R2;x3]=[*;R]",
}
STRUCK_OUT = {
    "an enol, or an imidic acid": "[OX2H]-[CX3]=[C,N]",
    "an enamine with hydrogen on nitrogen": "[NX3;H2]-[CX3]=[CX3]",
    "two of OH, NH2 and NH on one carbon": "[$([OX2H]),$([NX3;!H0])]-[CX4]-[$([OX2H]),$([NX3;!H0])]",
}
"""What is left out, as SMARTS: what falls apart, rearranges at once, or is strained beyond reason. Nothing good grows
out of the hopeless, so they are not grown from either."""


@cache
def enumerate_molecules(heavy_atoms: int = 6) -> tuple[str, ...]:
    """Canonical SMILES of the molecules of up to so many heavy atoms, smallest first, each size in alphabetical order.

    Graphs of C, N, O and F are grown atom by atom, bonds of order 1 to 3, at most two rings; what `HOPELESS` and
    `STRUCK_OUT` name is left out. Takes some ten seconds for 6 (11,703 molecules), minutes for 7; kept for the process.

    Raises:
        ValueError: a number of atoms below 1 or above 7.
    """
    if not isinstance(heavy_atoms, int) or isinstance(heavy_atoms, bool) or not 1 <= heavy_atoms <= LARGEST:
        raise ValueError(f"heavy_atoms is {heavy_atoms!r}; give a whole number from 1 to {LARGEST}")
    from rdkit import Chem

    patterns = [Chem.MolFromSmarts(smarts) for smarts in STRUCK_OUT.values()]
    found: list[str] = []
    for size in range(1, heavy_atoms + 1):
        for smiles in _graphs(size):
            molecule = Chem.MolFromSmiles(smiles)
            if not any(molecule.HasSubstructMatch(pattern) for pattern in patterns):
                found.append(smiles)
    return tuple(found)


@cache
def _graphs(size: int) -> tuple[str, ...]:
    """All graphs of this size that are not hopeless, with those to be struck out: others grow from them."""
    if size == 1:
        return tuple(sorted(VALENCE))
    from rdkit import Chem

    grown: set[str] = set()
    for smiles in _graphs(size - 1):
        base = Chem.MolFromSmiles(smiles)
        Chem.Kekulize(base, clearAromaticFlags=True)
        for atom in base.GetAtoms():
            room = atom.GetTotalNumHs()
            for symbol, valence in VALENCE.items():
                for order in range(1, min(room, valence, 3) + 1):
                    larger = Chem.RWMol(base)
                    new = larger.AddAtom(Chem.Atom(symbol))
                    larger.AddBond(atom.GetIdx(), new, Chem.BondType.values[order])
                    _keep(larger, grown)
    for smiles in list(grown):
        _close_rings(smiles, grown, RINGS)
    patterns = [Chem.MolFromSmarts(smarts) for smarts in HOPELESS.values()]
    hopeless = [text for text in grown if any(map(Chem.MolFromSmiles(text).HasSubstructMatch, patterns))]
    return tuple(sorted(grown.difference(hopeless)))


def _close_rings(smiles: str, grown: set[str], rings: int) -> None:
    """Add every way of closing up to so many rings."""
    from rdkit import Chem

    base = Chem.MolFromSmiles(smiles)
    if base.GetRingInfo().NumRings() >= rings:
        return
    Chem.Kekulize(base, clearAromaticFlags=True)
    room = [atom.GetTotalNumHs() for atom in base.GetAtoms()]
    for one, other in combinations(range(base.GetNumAtoms()), 2):
        if room[one] and room[other] and base.GetBondBetweenAtoms(one, other) is None:
            for order in range(1, min(room[one], room[other], 2) + 1):
                closed = Chem.RWMol(base)
                closed.AddBond(one, other, Chem.BondType.values[order])
                text = _keep(closed, grown)
                if text is not None:
                    _close_rings(text, grown, rings)


def _keep(molecule: object, grown: set[str]) -> str | None:
    """Its canonical SMILES if it is new and its valences hold."""
    from rdkit import Chem

    for atom in molecule.GetAtoms():
        atom.SetNoImplicit(False)
        atom.SetNumExplicitHs(0)
    try:
        Chem.SanitizeMol(molecule)
    except Chem.rdchem.MolSanitizeException:
        return None
    text = Chem.MolToSmiles(molecule)
    if text in grown:
        return None
    grown.add(text)
    return text
