"""What a record may hold, and how it is written."""

import enum
import json
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from scilab.runs.records import differences, encode, record_body


@dataclass(frozen=True)
class Inner:
    mean: float


@dataclass(frozen=True)
class Everything:
    whole: int = 3
    number: float = 0.1
    nan: float = math.nan
    infinite: float = -math.inf
    text: str = "größe \ud800"
    yes: bool = True
    nothing: None = None
    pair: tuple = (1, (2.5, "x"))
    table: dict = field(default_factory=lambda: {1: math.inf, "b": {"c": [np.int64(4)]}})
    numpy: object = np.float32(0.5)
    numpy_nan: object = np.float64("nan")
    numpy_bool: object = np.bool_(True)
    torch: object = torch.tensor(2.0, requires_grad=True)
    zero_d: object = field(default_factory=lambda: np.array(7))
    inner: Inner = Inner(np.inf)
    colour: object = enum.StrEnum("Colour", {"RED": "red"}).RED
    level: object = enum.IntEnum("Level", {"HIGH": 9}).HIGH


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not strict JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_kind_of_value_becomes_plain_json():
    assert strict(record_body(Everything())) == {
        "kind": "Everything", "whole": 3, "number": 0.1, "nan": None, "infinite": None, "text": "größe \ud800",
        "yes": True, "nothing": None, "pair": [1, [2.5, "x"]], "table": {"1": None, "b": {"c": [4]}}, "numpy": 0.5,
        "numpy_nan": None, "numpy_bool": True, "torch": 2.0, "zero_d": 7, "inner": {"mean": None}, "colour": "red",
        "level": 9,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(3), r"Everything\.whole is a ndarray of shape \(3,\).*tolist"),
        (torch.zeros(2, 2), r"Everything\.whole is a Tensor of shape \(2, 2\)"),
        ({"a": [1, {2}]}, r"Everything\.whole\['a'\]\[1\] is a set"),
        ({(1, 2): 3}, r"Everything\.whole has the key \(1, 2\)"),
        (1j, r"Everything\.whole is a complex"),
        (np.complex128(1), r"Everything\.whole is a complex"),
        (b"x", r"Everything\.whole is a bytes"),
        (Inner, r"Everything\.whole is a type"),
    ],
)
def test_what_cannot_be_json_is_refused_by_the_name_of_its_field(value, message):
    with pytest.raises(TypeError, match=message):
        record_body(Everything(whole=value))


@pytest.mark.parametrize("name", ["kind", "n", "t"])
def test_a_field_cannot_take_the_journals_own_names(name):
    record = dataclass(type("Taken", (), {"__annotations__": {name: int}}))(1)
    with pytest.raises(TypeError, match=rf"Taken\.{name}: the names kind, n and t"):
        record_body(record)


@pytest.mark.parametrize("record", [3, {"step": 1}, Inner, None])
def test_a_record_is_a_dataclass(record):
    with pytest.raises(TypeError, match="records are instances of small frozen dataclasses"):
        record_body(record)


def test_differences_name_each_setting_by_its_path():
    stored = json.loads(
        encode({"lr": 0.1, "strategy": {"epochs": 1, "size": (1, 2)}, "gone": 1, "nan": math.nan}, "settings")
    )
    given = json.loads(
        encode({"lr": 0.1, "strategy": {"epochs": 2, "size": [1, 3]}, "new": "x", "nan": math.nan}, "settings")
    )
    assert differences(stored, given) == [
        ("strategy.epochs", 1, 2),
        ("strategy.size", [1, 2], [1, 3]),
        ("gone", 1, None),
        ("new", None, "x"),
    ]
    assert differences(stored, stored) == []
