"""How fast samples are taken, as the orders for more tell."""

from idds.domain.identifiers import CollectionId
from idds.services.paces import STUDIES, Paces

HERE, SECOND = CollectionId(1), 1_000_000


def test_it_is_known_from_the_second_order_on() -> None:
    paces = Paces()
    assert paces.note(HERE, 0, 5 * SECOND) is None
    assert paces.note(HERE, 40, 7 * SECOND) == 20
    # The rest of an order was asked for at the same time.
    assert paces.note(HERE, 60, 7 * SECOND) == 20
    assert paces.note(HERE, 80, 8 * SECOND) == 40


def test_one_that_begins_anew_is_not_taken_for_fast() -> None:
    paces = Paces()
    paces.note(HERE, 40, 7 * SECOND)
    assert paces.note(HERE, 10, 8 * SECOND) is None
    assert paces.note(HERE, 10, 9 * SECOND) is None, "nothing was taken"


def test_so_many_are_remembered_at_most() -> None:
    paces = Paces()
    for number in range(STUDIES + 1):
        paces.note(CollectionId(number), 0, 0)
    assert paces.note(CollectionId(1), 40, SECOND) == 40
    assert paces.note(CollectionId(0), 40, SECOND) is None
