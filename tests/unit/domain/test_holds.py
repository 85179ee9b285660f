"""What a hold of a tape holds: that RSE, or all RSEs of that tape system."""

from idds.domain.hold import Hold, HoldKind, hold_of_tape


def test_a_hold_of_a_tape_rse_holds_no_other_of_its_system_and_one_of_the_system_all_of_them() -> None:
    one = Hold(HoldKind.TAPE, "TAPE-1", "a robot is stuck", "op", 1)
    all_of_it = Hold(HoldKind.TAPE, "library", "no power", "op", 1)
    disk = Hold(HoldKind.RSE, "TAPE-2", "it is full", "op", 1)
    holds = {(each.kind, each.ref): each for each in (one, disk)}
    assert hold_of_tape(holds, "TAPE-1", "library") is one
    assert hold_of_tape(holds, "TAPE-2", "library") is None
    assert hold_of_tape(holds, None, "not known") is None
    holds[all_of_it.kind, all_of_it.ref] = all_of_it
    assert hold_of_tape(holds, "TAPE-1", "library") is one
    assert hold_of_tape(holds, "TAPE-2", "library") is all_of_it
