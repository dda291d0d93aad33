import itertools
import random

import pytest

from compress.pareto import Point, pareto_front, steps


def _points(*pairs: tuple[float, float]) -> list[Point]:
    return [Point(f"p{i}", cost, quality) for i, (cost, quality) in enumerate(pairs)]


def test_ties_keep_the_better_and_then_the_first() -> None:
    points = _points((50, 26.0), (50, 26.5), (50, 26.5), (60, 26.5))
    assert [point.label for point in pareto_front(points)] == ["p1"]


def test_a_single_point_is_the_front() -> None:
    (point,) = _points((1, 1))
    assert pareto_front([point]) == (point,)
    assert steps([point]) == ()


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_that_of_the_definition(seed: int) -> None:
    rng = random.Random(seed)
    points = _points(*((rng.randrange(1, 12), rng.randrange(12)) for _ in range(15)))

    def beats(a: Point, b: Point) -> bool:
        no_worse = a.cost <= b.cost and a.quality >= b.quality
        return no_worse and (a.cost, a.quality) != (b.cost, b.quality)

    best = {(p.cost, p.quality) for p in points if not any(beats(other, p) for other in points)}
    front = pareto_front(points)
    assert {(p.cost, p.quality) for p in front} == best
    assert len(front) == len(best)
    assert all(a.cost < b.cost and a.quality < b.quality for a, b in itertools.pairwise(front))


def test_steps_say_what_a_kilobyte_buys() -> None:
    first, second = steps(pareto_front(_points((100, 26.0), (300, 27.0), (1300, 27.5))))
    assert (first.smaller.label, first.larger.label) == ("p0", "p1")
    assert (first.cost, first.quality, first.rate) == pytest.approx((200, 1.0, 0.005))
    assert (second.cost, second.rate) == pytest.approx((1000, 0.0005))
