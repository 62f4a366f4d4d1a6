"""What a person can set: declarations of fields, and what the values typed into them mean.

A field is declared once, in Python, with its label, unit, help sentence and limits; the page draws it and the same
declaration judges what was typed. A bad value becomes a sentence for the place beside the control, never an exception
that is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Field:
    """What all fields share.

    ``name`` is the key in ``values``; ``help`` is the sentence shown on hover; ``group`` is the heading it stands
    under. ``unless(values)`` returns the reason why the field does not apply just now, or None: the control is then
    disabled with that reason, and its value is not judged. A field with ``only(values)`` is part of another choice:
    where that is not made, the control is not there, and its value is the default. A field without a
    ``control`` is set by the panel's own view.
    """

    name: str
    label: str
    default: Any
    help: str
    unit: str = ""
    group: str = ""
    unless: Callable[[Values], str | None] | None = None
    only: Callable[[Values], bool] | None = None
    control: ClassVar[str] = ""

    def __post_init__(self):
        if not self.name.isidentifier():
            raise ValueError(f"a field's name is a key in `values`, so a Python name; given {self.name!r}")
        if not self.help.strip():
            raise ValueError(f"field {self.name!r} needs a help sentence: it is what a person reads on hover")
        try:
            self.parse(self.default)
        except ValueError as error:
            raise ValueError(f"field {self.name!r}: its default {self.default!r} is not allowed. {error}") from None

    def parse(self, given: Any) -> Any:
        """The value meant by what was typed. Raises ValueError with a sentence for the person."""
        raise ValueError(f"a {type(self).__name__} cannot be typed; use Number, Choice, Text or Toggle")

    def describe(self) -> dict:
        """What the page needs to draw the control (plain JSON)."""
        return {"name": self.name, "control": self.control, "label": self.label, "unit": self.unit,
                "help": self.help, "group": self.group}


@dataclass(frozen=True, kw_only=True)
class Number(Field):
    """A number between ``minimum`` and ``maximum`` (both allowed). ``integer=True`` accepts whole numbers only,
    ``optional=True`` also nothing at all (None).
    """

    minimum: float = -math.inf
    maximum: float = math.inf
    step: float | None = None
    integer: bool = False
    optional: bool = False
    control: ClassVar[str] = "number"

    def parse(self, given: Any) -> int | float | None:
        if self.optional and (given is None or not str(given).strip()):
            return None
        try:
            number = math.nan if isinstance(given, bool) else float(str(given).strip())
        except ValueError:
            number = math.nan
        if math.isnan(number) or math.isinf(number):
            empty = given is None or not str(given).strip()
            raise ValueError(f"{self._allowed()}; " + ("nothing is given." if empty else f"“{given}” is not a number."))
        if self.integer and number != int(number):
            raise ValueError(f"{self._allowed()}; given {given}.")
        if not self.minimum <= number <= self.maximum:
            raise ValueError(f"{self._allowed()}; given {given}.")
        return int(number) if self.integer else number

    def _allowed(self) -> str:
        what = "A whole number" if self.integer else "A number"
        low, high = self.minimum > -math.inf, self.maximum < math.inf
        if low and high:
            what += f" from {self.minimum:,.12g} to {self.maximum:,.12g}"
        elif low:
            what += f" of at least {self.minimum:,.12g}"
        elif high:
            what += f" of at most {self.maximum:,.12g}"
        return what

    def describe(self) -> dict:
        limits = {key: value for key, value in (("min", self.minimum), ("max", self.maximum)) if math.isfinite(value)}
        return super().describe() | limits | {"step": self.step or (1 if self.integer else "any")}


@dataclass(frozen=True, kw_only=True)
class Choice(Field):
    """One of ``options``, each a value or a (value, label) pair.

    ``reasons(values)`` returns {value: why it cannot be chosen now}; such options are disabled with that reason.
    """

    options: Sequence[Any] = ()
    reasons: Callable[[Values], Mapping[Any, str]] | None = None
    control: ClassVar[str] = "choice"

    def pairs(self) -> list[tuple[Any, str]]:
        return [tuple(option) if isinstance(option, tuple) else (option, str(option)) for option in self.options]

    def parse(self, given: Any) -> Any:
        for value, _ in self.pairs():
            if given == value or (not isinstance(value, str) and str(given) == str(value)):
                return value
        raise ValueError(f"One of {', '.join(str(value) for value, _ in self.pairs())}; given {given}.")

    def describe(self) -> dict:
        return super().describe() | {"options": [{"value": value, "label": label} for value, label in self.pairs()]}


@dataclass(frozen=True, kw_only=True)
class Text(Field):
    """A line of text. ``check(text)`` raises ValueError with a sentence for the person where it is not right. What is
    typed into a ``secret`` one is hidden, and never sent back to the page.
    """

    check: Callable[[str], Any] | None = None
    placeholder: str = ""
    secret: bool = False
    control: ClassVar[str] = "text"

    def parse(self, given: Any) -> str:
        text = "" if given is None else str(given).strip()
        if self.check is not None:
            self.check(text)
        return text

    def describe(self) -> dict:
        return super().describe() | {"placeholder": self.placeholder} | ({"secret": True} if self.secret else {})


@dataclass(frozen=True, kw_only=True)
class Toggle(Field):
    """Yes or no."""

    control: ClassVar[str] = "toggle"

    def parse(self, given: Any) -> bool:
        if not isinstance(given, bool):
            raise ValueError(f"Either true or false; given {given}.")
        return given


@dataclass(frozen=True)
class Form:
    """Fields judged together: ``values`` (always usable), ``errors`` {name: sentence}, ``disabled`` {name: reason},
    ``reasons`` {name: {value: why not}} for single options, ``hidden`` the names of those that are not there.
    """

    values: dict
    errors: dict
    disabled: dict
    reasons: dict
    hidden: tuple = ()


def judge(fields: Sequence[Field], given: Values, check: Callable[[Values], Mapping[str, str]] = lambda _: {}) -> Form:
    """Judge what was typed.

    Where a value is wrong, ``values`` holds the default and ``errors`` says why. ``check(values)`` looks at
    combinations of fields, and is asked only once each field is right by itself.
    """
    values, errors, disabled, reasons, hidden = {}, {}, {}, {}, []
    for field in fields:
        try:
            values[field.name] = field.parse(given.get(field.name, field.default))
        except ValueError as error:
            values[field.name] = field.default
            errors[field.name] = str(error)
    for field in fields:
        why = field.unless(values) if field.unless else None
        if field.only and not field.only(values):
            hidden.append(field.name)
            errors.pop(field.name, None)
        elif why:
            disabled[field.name] = why
            errors.pop(field.name, None)
        elif isinstance(field, Choice) and field.reasons:
            reasons[field.name] = dict(field.reasons(values))
            if values[field.name] in reasons[field.name]:
                errors.setdefault(field.name, reasons[field.name][values[field.name]])
    values |= {field.name: field.default for field in fields if field.name in hidden}
    if not errors:
        errors = {name: why for name, why in check(values).items() if name not in disabled}
    return Form(values, errors, disabled, reasons, tuple(hidden))


def for_page(fields: Sequence[Field], form: Form, typed: Values) -> dict:
    """What form.js needs to draw these fields (plain JSON)."""
    return {"fields": [field.describe() for field in fields], "locked": "",
            "typed": {field.name: typed.get(field.name, field.default) for field in fields
                      if not getattr(field, "secret", False)},
            "errors": form.errors, "disabled": form.disabled, "hidden": list(form.hidden),
            "reasons": {name: {str(value): why for value, why in of.items()} for name, of in form.reasons.items()}}
