"""How well a support vector machine tells digits apart, of each sample of a study with the parameters that it has.

    python classify.py IMAGES

is a payload as it may run anywhere: IDDS_URL and IDDS_TOKEN are all that it knows of the service. IMAGES is the output
of the merge.
"""

import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idds.sdk.study import Study

TRAINED = 1200
"""So many images are trained with, in a fixed order; no sample sees the others."""
PARTS = 3
BRIGHTEST = 16
STEPS = 20_000
PATIENCE_S, TTL_S = 5.0, 6.0
"""Short, as the whole demo is: who kills it and runs it again finds no payload of before."""


def read(path: Path) -> tuple[Any, Any]:
    """Pixels from 0 to 1, a row an image, and the digits they show; shuffled, always the same way."""
    import numpy

    rows = numpy.array(json.loads(path.read_text(encoding="utf-8"))["rows"])
    rows = rows[numpy.random.RandomState(0).permutation(len(rows))]
    return rows[:, :-1] / BRIGHTEST, rows[:, -1]


def validated(parameters: Mapping[str, Any], pixels: Any, digits: Any) -> float:
    """The accuracy that is to be expected, found by cross-validation on what is trained with."""
    from sklearn.model_selection import cross_val_score
    from sklearn.svm import SVC

    machine = SVC(**parameters, max_iter=STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one does not converge, its accuracy tells
        return float(cross_val_score(machine, pixels[:TRAINED], digits[:TRAINED], cv=PARTS).mean())


def held_out(parameters: Mapping[str, Any], pixels: Any, digits: Any) -> float:
    """The accuracy on images that nobody has seen."""
    from sklearn.svm import SVC

    machine = SVC(**parameters, max_iter=STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        machine.fit(pixels[:TRAINED], digits[:TRAINED])
    return float(machine.score(pixels[TRAINED:], digits[TRAINED:]))


def main() -> None:
    pixels, digits = read(Path(sys.argv[1]))
    for sample in Study(patience=PATIENCE_S, ttl=TTL_S).samples():
        with sample:
            sample.report(validated(sample.parameters, pixels, digits))


if __name__ == "__main__":
    main()
