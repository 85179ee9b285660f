"""How well digits are told apart, of each sample of a study with the parameters that it has.

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
SIDE = 8
STEPS = 20_000
PATIENCE_S, TTL_S = 5.0, 6.0
"""Short, as the whole demo is: who kills it and runs it again finds no payload of before."""


def read(path: Path) -> tuple[Any, Any]:
    """Pixels from 0 to 1, a row an image, and the digits they show; shuffled, always the same way."""
    import numpy

    rows = numpy.array(json.loads(path.read_text(encoding="utf-8"))["rows"])
    rows = rows[numpy.random.RandomState(0).permutation(len(rows))]
    return rows[:, :-1] / BRIGHTEST, rows[:, -1]


def prepared(parameters: Mapping[str, Any], pixels: Any) -> Any:
    """The images blurred by so many pixels, and with another contrast."""
    from scipy.ndimage import gaussian_filter

    blur = parameters["blur"]
    images = gaussian_filter(pixels.reshape(-1, SIDE, SIDE), (0, blur, blur))
    return images.reshape(len(pixels), -1) ** parameters["contrast"]


def machine(parameters: Mapping[str, Any]) -> Any:
    """What is trained: a support vector machine, behind a projection to the main components where that is chosen."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    vectors = SVC(C=parameters["C"], gamma=parameters["gamma"], max_iter=STEPS)
    if parameters["reduce"] == "none":
        return vectors
    components = PCA(parameters["components"], whiten=parameters["whiten"], svd_solver="full")
    return make_pipeline(components, vectors)


def validated(parameters: Mapping[str, Any], pixels: Any, digits: Any) -> float:
    """The accuracy that is to be expected, found by cross-validation on what is trained with."""
    from sklearn.model_selection import cross_val_score

    images = prepared(parameters, pixels[:TRAINED])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one does not converge, its accuracy tells
        return float(cross_val_score(machine(parameters), images, digits[:TRAINED], cv=PARTS).mean())


def held_out(parameters: Mapping[str, Any], pixels: Any, digits: Any) -> float:
    """The accuracy on images that nobody has seen."""
    images, trained = prepared(parameters, pixels), machine(parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained.fit(images[:TRAINED], digits[:TRAINED])
    return float(trained.score(images[TRAINED:], digits[TRAINED:]))


def main() -> None:
    pixels, digits = read(Path(sys.argv[1]))
    for sample in Study(patience=PATIENCE_S, ttl=TTL_S).samples():
        with sample:
            sample.report(validated(sample.parameters, pixels, digits))


if __name__ == "__main__":
    main()
