"""Search spaces of every kind, for properties that all of them have."""

from hypothesis import strategies as st

from idds.domain.space import Parameter, When

CHOICES = st.lists(st.sampled_from(["a", "b", "", 7, 2.5, True, False]), min_size=1, max_size=5, unique=True)
FINITE = st.floats(-1e9, 1e9, allow_nan=False)


@st.composite
def floats(draw: st.DrawFn) -> Parameter:
    low, high = sorted(draw(st.tuples(FINITE, FINITE)))
    if draw(st.booleans()) and low > 0:
        return Parameter(type="float", low=low, high=high, log=True)
    if low < high and draw(st.booleans()):
        return Parameter(type="float", low=low, high=high, step=(high - low) / draw(st.integers(1, 50)))
    return Parameter(type="float", low=low, high=high)


@st.composite
def ints(draw: st.DrawFn) -> Parameter:
    low, high = sorted(draw(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000))))
    if draw(st.booleans()) and low > 0:
        return Parameter(type="int", low=low, high=high, log=True)
    step = draw(st.none() | st.integers(1, max(1, high - low))) if high > low else None
    return Parameter(type="int", low=low, high=high, step=step)


categoricals = CHOICES.map(lambda choices: Parameter(type="categorical", choices=tuple(choices)))


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Parameter]:
    """A space in which nothing is wrong: some of its parameters hang on a choice of those before."""
    found: dict[str, Parameter] = {}
    for name in draw(st.permutations("abcde").map(lambda names: names[: draw(st.integers(1, 5))])):
        parameter = draw(floats() | ints() | categoricals)
        branching = [each for each, other in found.items() if other.type == "categorical"]
        if branching and draw(st.booleans()):
            on = draw(st.sampled_from(branching))
            values = draw(st.lists(st.sampled_from(found[on].choices), min_size=1, max_size=3))
            when = When(parameter=on, values=tuple(values))
            parameter = Parameter(
                type=parameter.type,
                low=parameter.low,
                high=parameter.high,
                log=parameter.log,
                step=parameter.step,
                choices=parameter.choices,
                when=when,
            )
        found[name] = parameter
    return found
