"""Tables of results, read to make a study of them."""

from pathlib import Path

import pytest

from idds.cli.study_importing import Results, directed, read_table
from idds.domain.course import Result
from idds.domain.errors import InvalidInput


def table(folder: Path, text: str) -> Path:
    path = folder / "found.csv"
    path.write_text(text)
    return path


def test_a_table_tells_what_is_feasible_and_its_directions(tmp_path: Path) -> None:
    found = read_table(
        table(
            tmp_path,
            "values_0,values_1,directions_0,directions_1,constraints_0,constraints_1,params_x,pruned\n"
            "1.5,2,maximize,minimize,0.0,-1,3,False\n"
            "1.5,2,maximize,minimize,,,4,False\n"
            ",,maximize,minimize,1,1,5,True\n",
        )
    )
    assert found.found == [Result(parameters={"x": 3}, values=(1.5, 2.0), constraint_values=(0.0, -1.0))]
    assert directed(found, None, None).directions == ["maximize", "minimize"]


@pytest.mark.parametrize("column", ["constraint", "constraints_c", "system_attrs_constraints:c"])
def test_constraints_are_named_as_here_or_by_data_frames_of_optuna(tmp_path: Path, column: str) -> None:
    (one,) = read_table(table(tmp_path, f"value,state,{column},params_x\n1,COMPLETE,0.5,1\n2,PRUNED,0.5,2\n")).found
    assert (one.parameters, one.constraint_values) == ({"x": 1}, (0.5,))


def test_whoever_does_not_say_in_which_direction_is_asked(tmp_path: Path) -> None:
    silent = read_table(table(tmp_path, "value,params_x\n1,1\n"))
    with pytest.raises(InvalidInput, match="found does not tell: say minimize or maximize"):
        directed(silent, None, None)
    assert directed(silent, ["maximize"], None).directions == ["maximize"]
    assert directed(silent, None, ["maximize"]).directions == ["maximize"]
    told = Results("told", ("minimize",), {}, silent.found)
    with pytest.raises(InvalidInput, match="is this to minimize, or to maximize"):
        directed(told, ["maximize"])
    with pytest.raises(InvalidInput, match="there are 1 values: give as many directions"):
        directed(silent, ["maximize", "maximize"])


def test_only_what_is_written_as_numbers_is_numbers(tmp_path: Path) -> None:
    head = "value,direction,params_whole,params_number,params_code,params_text,params_truth\n"
    found = read_table(
        table(tmp_path, head + "1e-3,minimize,1,.5,007,1_000,True\n\n 2,minimize,-2, 1.5e3,010,inf,False\nnan,,,,,,,\n")
    )
    assert [tuple(each.parameters.values()) for each in found.found] == [
        (1, 0.5, "007", "1_000", True),
        (-2, 1500.0, "010", "inf", False),
    ]
    assert [each.values for each in found.found] == [(0.001,), (2.0,)]


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "")
    path.write_bytes("value,params_x\n1,größer\n".encode("latin-1"))
    with pytest.raises(InvalidInput, match="is no table in UTF-8"):
        read_table(path)


WRONG = [
    ("value,params_x,params_x\n1,1,1\n", "has several columns params_x"),
    ("value,params_x\n1,1\n\n1,0,5\n", "/4: there are more cells than the 2 columns"),
    ("value,params_x\n1_000,1\n", "/2/value: '1_000' is no number"),
    ("value,direction,params_x\n1,minimize,1\n2,maximize,1\n", "/3/direction: 'maximize', and 'minimize' above"),
    ("value,system_attrs_constraints,params_x\n1,[0.5],1\n", "/1/system_attrs_constraints: lists cannot be read"),
    ("value,constraint,params_x\n1,no,1\n", "/2/constraint: 'no' is no number"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_cannot_be_read_is_refused_at_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read_table(table(tmp_path, text))
    assert said in str(error.value)
