import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from edge_runtime.errors import CardError, RecordError
from edge_runtime.models.card import ModelCard
from edge_runtime.records import from_json, to_json, to_plain


@dataclass(frozen=True, kw_only=True)
class Inner:
    share: float
    kind: Literal["rgb", "y"] = "rgb"


@dataclass(frozen=True, kw_only=True)
class Outer:
    schema: int = 3
    name: str
    inner: Inner
    others: tuple[Inner, ...] = ()
    numbers: dict[str, int] = field(default_factory=dict)
    maybe: float | None = None


OUTER = Outer(name="a", inner=Inner(share=0.5), others=(Inner(share=1.0, kind="y"),), maybe=2.0)


def _changed(**changes: Any) -> str:
    return json.dumps({**to_plain(OUTER), **changes})


def test_a_record_survives_json() -> None:
    assert from_json(Outer, to_json(OUTER), 3, "x") == OUTER
    assert to_json(OUTER).endswith("}\n")


def test_a_card_inside_survives(card: ModelCard) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Holder:
        schema: int = 1
        card: ModelCard

    holder = Holder(card=card)
    values = to_plain(holder)
    assert values["card"] == json.loads(card.to_json())


def test_older_files_take_defaults() -> None:
    old = {"schema": 1, "name": "a", "inner": {"share": 1}}
    found = from_json(Outer, json.dumps(old), 3, "x")
    assert (found.schema, found.inner, found.others, found.maybe) == (1, Inner(share=1.0), (), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "x: not JSON"),
        ("[]", r"x: must be an object, got \[\]"),
        (_changed(schema=4), "x: schema 4 is newer than 3, .* upgrade with"),
        (_changed(schema=0), "x: schema must be from 1 to 3, got 0"),
        (_changed(schema="1"), "x: schema must be from 1 to 3, got '1'"),
        (_changed(nmae=1), "x: unknown key 'nmae'; did you mean 'name'"),
        (_changed(name=1), "x: name must be a text, got 1"),
        (_changed(inner={}), "x: inner: key 'share' is missing"),
        (_changed(inner={"share": True}), "x: inner: share must be a finite number, got True"),
        (_changed(inner={"share": 1, "kind": "z"}), "kind must be one of 'rgb', 'y', got 'z'"),
        (_changed(others={}), "x: others must be a list"),
        (_changed(others=[{"share": "a"}]), r"others\[0\]: share must be a finite number"),
        (_changed(numbers={"a": 1.5}), r"numbers\.a must be an integer, got 1\.5"),
        ('{"schema": 1, "name": NaN}', "NaN is no number of JSON"),
    ],
)
def test_everything_else_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        from_json(Outer, text, 3, "x")


def test_a_number_too_large_is_no_number() -> None:
    with pytest.raises(RecordError, match="share must be a finite number, got inf"):
        from_json(
            Outer, _changed(inner={"share": 0}).replace('"share": 0', '"share": 1e999'), 3, "x"
        )


def test_a_wrong_card_is_named(card: ModelCard) -> None:
    from edge_runtime.records import from_plain

    values = {**json.loads(card.to_json()), "halo": -1}
    with pytest.raises(CardError, match=r"here: .*halo must be an integer of at least 0, got -1"):
        from_plain(ModelCard, values, "here")
