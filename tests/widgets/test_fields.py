import pytest

from scilab.widgets import Choice, Number, Text, Toggle
from scilab.widgets.fields import judge

DEVICES = Number(name="devices", label="Devices", default=4, minimum=1, maximum=2048, integer=True, help="How many.")
SHARES = Choice(name="shares", label="Shares", default="iid", help="How.",
                options=(("iid", "Even"), ("dirichlet", "Uneven")))
ALPHA = Number(name="alpha", label="Alpha", default=0.5, minimum=0.01, help="How uneven.",
               unless=lambda values: None if values["shares"] == "dirichlet" else "For uneven shares only.")


@pytest.mark.parametrize(("typed", "value"), [("7", 7), (" 7 ", 7), (7.0, 7), ("1", 1), ("2048", 2048)])
def test_a_whole_number_is_read(typed, value):
    form = judge([DEVICES], {"devices": typed})
    assert form.values == {"devices": value}
    assert isinstance(form.values["devices"], int)
    assert form.errors == {}


@pytest.mark.parametrize(("typed", "sentence"), [
    ("0", "A whole number from 1 to 2,048; given 0."),
    ("2049", "A whole number from 1 to 2,048; given 2049."),
    ("2.5", "A whole number from 1 to 2,048; given 2.5."),
    ("many", "A whole number from 1 to 2,048; “many” is not a number."),
    ("nan", "A whole number from 1 to 2,048; “nan” is not a number."),
    ("inf", "A whole number from 1 to 2,048; “inf” is not a number."),
    ("", "A whole number from 1 to 2,048; nothing is given."),
    (None, "A whole number from 1 to 2,048; nothing is given."),
    (True, "A whole number from 1 to 2,048; “True” is not a number."),
])  # fmt: skip
def test_what_is_no_such_number_says_what_is_allowed(typed, sentence):
    form = judge([DEVICES], {"devices": typed})
    assert form.errors == {"devices": sentence}
    assert form.values == {"devices": 4}  # usable all the same


def test_limits_on_one_side():
    assert judge([ALPHA, SHARES], {"alpha": "0", "shares": "dirichlet"}).errors == {
        "alpha": "A number of at least 0.01; given 0."}
    most = Number(name="x", label="X", default=0, maximum=1, help="X.")
    assert judge([most], {"x": 2}).errors == {"x": "A number of at most 1; given 2."}


def test_a_field_that_does_not_apply_is_disabled_with_its_reason_and_not_judged():
    form = judge([ALPHA, SHARES], {"alpha": "-1", "shares": "iid"})
    assert form.disabled == {"alpha": "For uneven shares only."}
    assert form.errors == {}
    assert judge([ALPHA, SHARES], {"alpha": "-1", "shares": "dirichlet"}).disabled == {}


def test_an_option_that_cannot_be_had_gives_its_reason():
    engine = Choice(name="engine", label="Engine", default="cpu", options=("cpu", "gpu"), help="Where.",
                    reasons=lambda values: {"gpu": "No GPU is visible."})
    assert judge([engine], {}).reasons == {"engine": {"gpu": "No GPU is visible."}}
    assert judge([engine], {}).errors == {}
    assert judge([engine], {"engine": "gpu"}).errors == {"engine": "No GPU is visible."}
    assert judge([engine], {"engine": "tpu"}).errors == {"engine": "One of cpu, gpu; given tpu."}


def test_combinations_are_looked_at_once_each_field_is_right():
    seen = []

    def check(values):
        seen.append(dict(values))
        return {"devices": "Too many for the data."}

    assert "is not a number" in judge([DEVICES], {"devices": "x"}, check).errors["devices"]
    assert seen == []
    assert judge([DEVICES], {"devices": "9"}, check).errors == {"devices": "Too many for the data."}
    assert seen == [{"devices": 9}]


def test_text_and_toggle():
    def check(text):
        if " " in text:
            raise ValueError("One word, please.")

    word = Text(name="word", label="Word", default="", help="A word.", check=check)
    on = Toggle(name="on", label="On", default=False, help="Whether.")
    assert judge([word, on], {"word": " one ", "on": True}).values == {"word": "one", "on": True}
    assert judge([word, on], {"word": "one two", "on": "yes"}).errors == {
        "word": "One word, please.", "on": "Either true or false; given yes."}


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Number(name="n", label="N", default=9, maximum=1, help="N."), "default 9 is not allowed"),
    (lambda: Number(name="n", label="N", default=1, help=" "), "help sentence"),
    (lambda: Number(name="not a name", label="N", default=1, help="N."), "Python name"),
    (lambda: Choice(name="c", label="C", default="x", options=("a",), help="C."), "One of a; given x"),
])  # fmt: skip
def test_a_wrong_declaration_is_told_to_the_programmer(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_what_the_page_gets_to_draw():
    assert DEVICES.describe() == {"name": "devices", "control": "number", "label": "Devices", "unit": "",
                                  "help": "How many.", "group": "", "min": 1, "max": 2048, "step": 1}
    assert ALPHA.describe()["step"] == "any"
    assert "max" not in ALPHA.describe()
    assert SHARES.describe()["options"] == [{"value": "iid", "label": "Even"},
                                            {"value": "dirichlet", "label": "Uneven"}]


def test_a_part_of_another_choice_is_there_only_with_it():
    mu = Number(name="mu", label="Mu", default=0.1, minimum=0, help="Pull.", only=lambda v: v["shares"] == "dirichlet")
    form = judge([SHARES, mu], {"shares": "iid", "mu": "x"})
    assert (form.hidden, form.errors, form.values["mu"]) == (("mu",), {}, 0.1)
    assert judge([SHARES, mu], {"shares": "iid", "mu": "3"}).values["mu"] == 0.1
    form = judge([SHARES, mu], {"shares": "dirichlet", "mu": "x"})
    assert form.hidden == ()
    assert "“x” is not a number" in form.errors["mu"]


def test_an_optional_number_may_be_left_empty():
    clip = Number(name="clip", label="Clip", default=None, minimum=0, optional=True, help="Length.")
    assert [clip.parse(typed) for typed in ("", " ", None, "2")] == [None, None, None, 2]
    with pytest.raises(ValueError, match="A number of at least 0; given -1"):
        clip.parse("-1")
