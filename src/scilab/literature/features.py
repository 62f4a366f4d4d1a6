"""What the network is told of a word: its form, its ends, its shape, the stems of drug names in it, and a gazetteer."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files

import numpy as np
from spacy import registry
from spacy.attrs import ORTH
from spacy.strings import hash_string
from spacy.tokens import Doc
from thinc.api import HashEmbed, Maxout, Model, chain, concatenate, list2ragged, ragged2list, with_array
from thinc.types import Ints2d

# Stems of international nonproprietary names (WHO, "The use of stems in the selection of INN", 2018), then endings of
# systematic and trivial chemical names. The longest that fits counts.
STEMS = (
    "abine", "acetate", "acid", "adol", "al", "alol", "amab", "amide", "amine", "amivir", "ane", "anoic",
    "anserin", "ase", "astine", "ate", "azepam", "azepine", "azide", "azine", "azole", "bactam", "barb",
    "bendazole", "bromide", "buvir", "caine", "calcium", "cavir", "cef", "chloride", "ciclovir", "cidin",
    "cillin", "cin", "citabine", "citrate", "clidine", "closporin", "coxib", "cyanide", "cycline", "dapsone",
    "dazole", "degib", "dioxide", "dipine", "dralazine", "drine", "dronate", "elvir", "ene", "enoic", "entan",
    "eptide", "estr", "fenac", "fenone", "fibrate", "floxacin", "flozin", "fluoride", "flurane", "fovir",
    "fumarate", "fungin", "gabalin", "gatran", "gen", "giline", "gliptin", "glitazone", "gosivir", "grel",
    "hydrochloride", "hydroxide", "icam", "ide", "idine", "idone", "ifene", "iline", "imab", "imidazole",
    "imod", "imus", "ine", "inib", "iodide", "ite", "ium", "ivir", "izine", "kacin", "kin", "kinra", "kiren",
    "leukin", "lisib", "lukast", "lumab", "lutamide", "mab", "magnesium", "maleate", "melteon", "mer",
    "mesine", "mesylate", "micin", "mivir", "mustine", "mycin", "nab", "nabant", "navir", "nidazole",
    "nidine", "nitrate", "nitrite", "ol", "olol", "olone", "omab", "one", "onide", "onium", "orex", "ose",
    "oside", "oxacin", "oxan", "oxetine", "oxicam", "oxide", "oyl", "pamil", "parib", "parin", "peridol",
    "peridone", "peroxide", "phosphate", "phylline", "piprant", "planin", "plase", "platin", "potassium",
    "prazole", "pressin", "previr", "pril", "profen", "prost", "purine", "pyridine", "pyrimidine", "quidar",
    "quin", "quine", "racetam", "relin", "renone", "rifa", "ritinib", "rubicin", "sartan", "semide", "setron",
    "siban", "sodium", "spirone", "stat", "statin", "stigmine", "sulfa", "sulfate", "sulfone", "sulphate",
    "tadine", "tant", "tapide", "tartrate", "tasvir", "taxel", "tecan", "tegrastim", "tegravir", "teplase",
    "terol", "thiazide", "thromycin", "tidine", "tinib", "toin", "trexate", "trexed", "triptan", "triptyline",
    "uracil", "uridine", "vaptan", "vastatin", "verine", "vir", "virenz", "virine", "viroc", "virsen",
    "virtide", "vudine", "xaban", "ximab", "yl", "yne", "zafone", "zepam", "zinc", "zolamide", "zolid",
    "zomib", "zumab",
)  # fmt: skip
PARTS = re.compile(
    "fluor|chlor|brom|iod|meth|eth|prop|but|pent|hex|phen|benz|tolu|naphth|pyr|thi|oxy|oxo|hydr|amin|amid|nitr|sulf|"
    "sulph|phos|cyan|carb|azo|azol|cyclo|quin|imid|trop|ster|gluc|ribo|deoxy|acet|cef|ceph|cill|myc|vir|mab|nib|stat"
)
COLUMNS = ("form", "prefix", "suffix 2", "suffix 3", "suffix 4", "suffix 5", "shape", "stem", "parts", "known")
ROWS = (5000, 1500, 500, 1500, 2000, 2000, 500, 400, 500, 10)
KNOWN = COLUMNS.index("known")
_ENDS = frozenset(STEMS)
_LONGEST = max(map(len, STEMS))


@cache
def drug_names() -> frozenset[str]:
    """The gazetteer: 1,000 words, in lower case, that are or begin common names of drugs."""
    return frozenset(files(__package__).joinpath("drug_names.txt").read_text(encoding="utf-8").split())


def word_shape(word: str) -> str:
    """"Abc12-x" is "Aa0-a": runs of capitals, small letters and digits, each written once."""
    runs = re.sub(r"[^\W\d_]", lambda m: "A" if m[0].isupper() else "a", word)
    return re.sub(r"(.)\1+", r"\1", re.sub(r"\d", "0", runs))[:8]


def stem(word: str) -> str:
    """The longest of `STEMS` that ends this lower-case word with at least two letters before it, or ""."""
    return next((word[-n:] for n in range(min(_LONGEST, len(word) - 2), 1, -1) if word[-n:] in _ENDS), "")


def features(word: str, names: frozenset[str]) -> tuple[str, ...]:
    """A text for each of `COLUMNS`."""
    low = word.lower()
    known = "drug" if low in names or (low.endswith("s") and low[:-1] in names) else "no"
    parts = " ".join(sorted(set(PARTS.findall(low)))[:3])
    return (low, low[:3], low[-2:], low[-3:], low[-4:], low[-5:], word_shape(word), stem(low), parts, known)


class WordFeatures:
    """Doc → (words, columns) of 64-bit hashes; a word that was met is remembered, up to `limit` of them."""

    def __init__(self, limit: int = 200_000) -> None:
        self._rows: dict[int, np.ndarray] = {}
        self._limit = limit

    def __call__(self, doc: Doc) -> Ints2d:
        orths = doc.to_array(ORTH)
        rows, found = self._rows, np.empty((len(doc), len(COLUMNS)), dtype="uint64")
        for i, orth in enumerate(orths.tolist()):
            row = rows.get(orth)
            if row is None:
                if len(rows) >= self._limit:
                    rows.clear()
                told = features(doc[i].text, drug_names())
                row = rows[orth] = np.array([hash_string(each) for each in told], dtype="uint64")
            found[i] = row
        return found


HIDDEN = hash_string("hidden")
COLUMN_WIDTH = 48


def _extract(hide: float) -> Model[list[Doc], list[Ints2d]]:
    words = WordFeatures()

    def forward(model: Model, docs: list[Doc], is_train: bool) -> tuple[list[Ints2d], Callable]:
        rows = [words(doc) for doc in docs]
        if is_train and hide:
            for each in rows:
                each[model.ops.get_dropout_mask((len(each),), hide) == 0, KNOWN] = HIDDEN
        return rows, lambda _: []

    return Model("word_features", forward)


@registry.architectures("scilab.ChemicalEmbed.v1")
def chemical_embed(width: int, hide: float = 0.3) -> Model[list[Doc], list]:
    """Vectors of `width` for each token: one hashed table (Svenstrup et al. 2017) a column, mixed by a maxout layer.

    In training the gazetteer is hidden from a share `hide` of the words, so that the others are learned from too.
    """
    tables = [HashEmbed(COLUMN_WIDTH, rows, column=n, seed=n + 11, dropout=0.0) for n, rows in enumerate(ROWS)]
    mix = Maxout(width, len(ROWS) * COLUMN_WIDTH, nP=3, dropout=0.0, normalize=True)
    return chain(_extract(hide), list2ragged(), with_array(concatenate(*tables)), with_array(mix), ragged2list())
