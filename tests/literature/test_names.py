"""What is taken off a printed name, and what never is."""

import pytest

from scilab.literature.names import normalised

OUTER = [
    ("ciproﬂoxacin", "ciprofloxacin", ("compatibility",)),
    ("lopinavir−ritonavir", "lopinavir-ritonavir", ("dashes",)),
    ("lopinavir‐ritonavir", "lopinavir-ritonavir", ("dashes",)),
    ("lopinavir – ritonavir", "lopinavir-ritonavir", ("dashes", "spaces")),
    ("lopinavir / ritonavir", "lopinavir/ritonavir", ("spaces",)),
    ("5 - fluorouracil", "5-fluorouracil", ("spaces",)),
    ("•acyclovir", "acyclovir", ("outer",)),
    ("-laninamivir", "laninamivir", ("outer",)),
    ("“Tamiflu®”", "tamiflu", ("case", "outer")),
    ("(remdesivir)", "remdesivir", ("outer",)),
    ("remdesivir)", "remdesivir", ("outer",)),
    ("Remdesivir¹²", "remdesivir", ("raised", "case")),
    ("remdesivir,13,14", "remdesivir", ("notes",)),
    ("remdesivir[12,13]", "remdesivir", ("notes",)),
    ("rem\u00addesivir", "remdesivir", ("invisible",)),
    ("mycophenolic\n  acid", "mycophenolic acid", ("spaces",)),
    ("β-lactam", "beta-lactam", ("greek",)),
    ("...", "...", ("bare",)),
]
COMPOUNDS = [
    "(+)-catechin", "(-)-catechin", "[5-ht]6", "2,4-d", "1,25(oh)2d3", "ca2+", "n,n-dimethyltryptamine", "fe(iii)",
    "14c", "il-6", "5'-deoxyadenosine", "6:2 ftoh",
]  # fmt: skip


@pytest.mark.parametrize(("raw", "key", "rules"), OUTER)
def test_what_surrounds_a_name_goes_and_the_rule_is_told(raw, key, rules):
    name = normalised(raw)
    assert (name.raw, name.key, name.rules) == (raw, key, rules)


@pytest.mark.parametrize("name", COMPOUNDS)
def test_locants_signs_and_inner_marks_stay(name):
    assert normalised(name).key == name


def test_a_key_is_its_own_key():
    for raw in [raw for raw, _, _ in OUTER] + COMPOUNDS:
        key = normalised(raw).key
        assert normalised(key).key == key


def test_compounds_that_differ_in_an_inner_mark_are_not_joined():
    pairs = [("(+)-catechin", "(-)-catechin"), ("1-propanol", "2-propanol"), ("Fe2+", "Fe3+"), ("2,4-D", "24-D")]
    assert all(normalised(one).key != normalised(other).key for one, other in pairs)
