import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from edge_runtime.errors import RecordError
from edge_runtime.models.card import ModelCard, cards_of_today
from edge_runtime.models.records import from_json, from_plain, to_json, to_plain


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


@dataclass(frozen=True, kw_only=True)
class Holder:
    schema: int = 1
    card: ModelCard


OUTER = Outer(name="a", inner=Inner(share=0.5), others=(Inner(share=1.0, kind="y"),), maybe=2.0)


def _changed(**changes: Any) -> str:
    return json.dumps({**to_plain(OUTER), **changes})


def test_a_record_survives_json() -> None:
    assert from_json(Outer, to_json(OUTER), 3, "x") == OUTER
    assert to_json(OUTER).endswith("}\n")


def test_a_card_inside_survives(card: ModelCard) -> None:
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
        (_changed(name=1), "x: name must be str, got 1"),
        (_changed(inner={}), "x: inner: key 'share' is missing"),
        (_changed(inner={"share": True}), "x: inner.share must be float, got True"),
        (_changed(inner={"share": 1, "kind": "z"}), "kind must be one of 'rgb', 'y', got 'z'"),
        (_changed(others={}), "x: others must be array"),
        (_changed(others=[{"share": "a"}]), r"others\[0\]\.share must be float"),
        (_changed(numbers={"a": 1.5}), r"numbers\[\.\.\.\] must be int, got \{'a': 1\.5\}"),
        ('{"schema": 1, "name": NaN}', "x: not JSON"),
    ],
)
def test_everything_else_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        from_json(Outer, text, 3, "x")


def test_a_number_too_large_is_no_number() -> None:
    text = _changed(inner={"share": 0}).replace('"share": 0', '"share": 1e999')
    with pytest.raises(RecordError, match=r"x: not JSON .*out of range"):
        from_json(Outer, text, 3, "x")


def test_limits_are_said_in_words() -> None:
    @dataclass(frozen=True)
    class Limited:
        count: Annotated[int, Meta(ge=1)]
        name: Annotated[str, Meta(pattern="^a", description="a name that begins with a")] = "a"

    with pytest.raises(RecordError, match="it: count must be int >= 1, got 0"):
        from_plain(Limited, {"count": 0}, "it")
    with pytest.raises(RecordError, match="it: name must be a name that begins with a, got 'b'"):
        from_plain(Limited, {"count": 1, "name": "b"}, "it")


def test_older_cards_inside_are_read_and_wrong_ones_named(card: ModelCard) -> None:
    made = dataclasses.replace(card, quality=(dataclasses.replace(card.quality[0], psnr=math.inf),))
    older = {**json.loads(made.to_json()), "schema": 2}
    text = json.dumps({"schema": 1, "card": older})
    assert from_json(Holder, text, 1, "x", cards_of_today).card == made
    with pytest.raises(RecordError, match=r"x: card\.halo must be int >= 0, got -1"):
        from_json(Holder, text.replace('"halo": 0', '"halo": -1'), 1, "x", cards_of_today)
