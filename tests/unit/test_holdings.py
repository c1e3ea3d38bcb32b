"""The memory budget of all watches: every namespace gets a share."""

from rollback_operator.adapters.fairness.holdings import Holdings

OWN, OTHER = ("team-a", "shop"), ("team-b", "shop")


def test_no_namespace_holds_more_than_it_leaves_free() -> None:
    holdings = Holdings(most=100, free=0)
    assert holdings.hold(OWN, 50)
    assert not holdings.hold(OWN, 51)
    assert not holdings.hold(("team-a", "second"), 1)
    assert holdings.hold(OTHER, 25)
    assert not holdings.hold(OTHER, 26)


def test_what_shrinks_or_ends_frees_memory() -> None:
    holdings = Holdings(most=100, free=0)
    assert holdings.hold(OWN, 50)
    assert holdings.hold(OWN, 20)
    assert holdings.hold(("team-a", "second"), 30)
    holdings.drop(OWN)
    assert holdings.hold(("team-a", "second"), 50)


def test_what_most_watches_keep_is_free() -> None:
    holdings = Holdings(most=100, free=10)
    assert all(holdings.hold(("team-a", f"{n}"), 10) for n in range(1000))
