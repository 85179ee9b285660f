"""Spaces and changes of them, as people read them."""

import pytest

from idds.domain.redefinition import Add, Change, Choose, Constrain, Drop, Fix, Narrow, Unconstrain, Widen
from idds.domain.space import Parameter
from idds.web.studies_words import of_change, of_parameter

Y = Parameter(type="int", low=0, high=3)


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        (Parameter(type="float", low=1e-5, high=0.1, log=True), "1e-05 to 0.1, logarithmic"),
        (Parameter(type="float", low=0, high=0.5, step=0.05), "0 to 0.5 by 0.05"),
        (Parameter(type="int", low=1, high=10_000), "1 to 10,000"),
        (Parameter(type="categorical", choices=("adam", True, 3)), "adam, True, 3"),
        (Parameter(type="categorical", choices=tuple(range(20))), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more"),
    ],
)
def test_parameters(parameter: Parameter, words: str) -> None:
    assert of_parameter(parameter) == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Narrow(parameter="lr", low=1e-4), "lr narrowed: low 0.0001"),
        (Widen(parameter="n", low=1, high=128), "n widened: low 1, high 128"),
        (Choose(parameter="kind", choices=("a", "b")), "kind has other choices: a, b"),
        (Drop(parameter="kind"), "kind dropped"),
        (Drop(parameter="kind", only="a"), "kind dropped, results with a count on"),
        (Fix(parameter="x", value=0.5, within=0.01), "x fixed at 0.5, results within 0.01 count on"),
        (Fix(parameter="x", value=3), "x fixed at 3"),
        (Add(parameter="y", space=Y, earlier=1), "y added: 0 to 3, earlier results count as 1"),
        (Constrain(expression="x < 0.5"), "must hold: x < 0.5"),
        (Unconstrain(expression="x < 0.5"), "need not hold: x < 0.5"),
    ],
)
def test_changes(change: Change, words: str) -> None:
    assert of_change(change) == words
