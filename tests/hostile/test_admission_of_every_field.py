"""Each attack on each field, sent to the real API server: refused by name, or only then let in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.hostile import carriers
from tests.hostile.attacks import Attack, Must, attacks_on, sample_of
from tests.hostile.fields import Field, Manifest, fields_of, has, put
from tests.hostile.stand import NEIGHBOUR, PERSON, TENANT, HostileStand, refusal
from tests.integration.api import Api, ApiError, eventually, policies, rollbacks

pytestmark = pytest.mark.xdist_group("hostile")
DRY = "?dryRun=All&fieldValidation=Strict"
PLANNED = carriers.plans()
REQUESTS = carriers.requests(PERSON)
DECIDED = [one for one in fields_of("Rollback") if any(has(each, one) for each in PLANNED)]
APPROVED = carriers.decided(PERSON)
BESIDE = carriers.request()
APPROVALS = [one for one in fields_of("Rollback") if has(APPROVED, one) and not has(BESIDE, one)]
Choice = Callable[[Field], Iterable[Attack]]
BY_CHOICE = pytest.mark.parametrize(
    "choice",
    [sample_of, pytest.param(attacks_on, marks=pytest.mark.extended)],
    ids=["some", "each"],
)
ASKED = [one for one in fields_of("Rollback") if any(has(each, one) for each in REQUESTS)]


@pytest.fixture(scope="module")
def ground(hostile: HostileStand) -> HostileStand:
    """The tenant's policy, to which what people ask for belongs."""
    hostile.tenant.create(policies(TENANT), carriers.policy(suspend=True))
    # Requests are held against the policies of their namespace, which are seen a moment later.
    eventually(
        lambda: not refusal(hostile.account, rollbacks(TENANT) + DRY, PLANNED[0]),
        "the API server has seen the policy",
    )
    return hostile


@pytest.fixture(scope="module")
def planned(ground: HostileStand) -> str:
    """What a person has asked for, with the digest of its plan; its path."""
    made = ground.tenant.create(rollbacks(TENANT), carriers.request("decided"))
    path = f"{rollbacks(TENANT)}/{made['metadata']['name']}"
    digest = APPROVED["spec"]["approval"]["planDigest"]
    ground.account.merge(f"{path}/status", {"status": {"planDigest": digest}})
    return path


@dataclass(frozen=True)
class Trial:
    """Tries attacks on a field of the first manifest that has it."""

    bases: Sequence[Manifest]
    sent: Callable[[Manifest], str]
    """Says why a manifest is refused; empty if it is not."""

    def faults(self, field: Field, attacks: Iterable[Attack]) -> str:
        """Tell which attacks were not answered as they must be; empty: all were."""
        base = next(one for one in self.bases if has(one, field))
        found = list(_faults(field, attacks, lambda value: self.sent(put(base, field, value))))
        return "\n".join([field.key, *found]) if found else ""


def at(api: Api, path: str, bases: Sequence[Manifest]) -> Trial:
    return Trial(bases, lambda tried: refusal(api, path + DRY, tried))


def _faults(
    field: Field, attacks: Iterable[Attack], sent: Callable[[object], str]
) -> Iterator[str]:
    for attack in attacks:
        said = sent(attack.value)
        fault = _fault(field, attack, said)
        if fault:
            yield f"{attack.name} ({json.dumps(attack.value)[:80]}): {fault}"


def _fault(field: Field, attack: Attack, said: str) -> str:
    if attack.must is Must.BE_REFUSED and not said:
        return "admitted"
    if said and not said.startswith(("400", "403", "422")):
        return f"the API server itself failed: {said}"
    # What is not of a field's type is refused while it is read, by the path as well.
    return (
        f"refused without the field's name: {said}" if said and not field.is_named_in(said) else ""
    )


@pytest.mark.parametrize(
    "base", [*carriers.policies()], ids=["whole", "query", "password", "job", "sql"]
)
def test_the_policies_themselves_are_taken(ground: HostileStand, base: Manifest) -> None:
    assert refusal(ground.tenant, policies(TENANT) + DRY, base) == ""


@pytest.mark.parametrize("place", range(len(PLANNED)))
def test_the_plans_themselves_are_taken_from_the_operator(ground: HostileStand, place: int) -> None:
    assert refusal(ground.account, rollbacks(TENANT) + DRY, PLANNED[place]) == ""


def test_to_approve_is_not_for_the_operators_account(ground: HostileStand) -> None:
    decided = carriers.plan(approval=APPROVED["spec"]["approval"])
    said = refusal(ground.account, rollbacks(TENANT) + DRY, decided)
    assert said.startswith("403")
    assert "approv" in said


@pytest.mark.parametrize("place", range(len(PLANNED)))
def test_no_plan_is_taken_from_a_person(ground: HostileStand, place: int) -> None:
    said = refusal(ground.tenant, rollbacks(TENANT) + DRY, PLANNED[place])
    assert "only the operator creates Rollbacks with a plan" in said


@pytest.mark.parametrize("place", range(len(REQUESTS)))
def test_what_people_ask_for_is_taken(ground: HostileStand, place: int) -> None:
    assert refusal(ground.tenant, rollbacks(TENANT) + DRY, REQUESTS[place]) == ""


@BY_CHOICE
@pytest.mark.parametrize("field", fields_of("RollbackPolicy"), ids=lambda one: one.path)
def test_policies(ground: HostileStand, field: Field, choice: Choice) -> None:
    tried = at(ground.tenant, policies(TENANT), carriers.policies())
    assert tried.faults(field, choice(field)) == ""


@BY_CHOICE
@pytest.mark.parametrize("field", DECIDED, ids=lambda one: one.path)
def test_plans(ground: HostileStand, field: Field, choice: Choice) -> None:
    """With the operator's own token, too, no name leads out of a namespace."""
    tried = at(ground.account, rollbacks(TENANT), PLANNED)
    assert tried.faults(field, choice(field)) == ""


@BY_CHOICE
@pytest.mark.parametrize("field", ASKED, ids=lambda one: one.path)
def test_requests(ground: HostileStand, field: Field, choice: Choice) -> None:
    tried = at(ground.tenant, rollbacks(TENANT), REQUESTS)
    assert tried.faults(field, choice(field)) == ""


def _decision_refused(api: Api, path: str, tried: Manifest) -> str:
    """Say why the API server refuses the decision of a manifest; empty if it does not."""
    try:
        api.merge(path + DRY, {"spec": {"approval": tried["spec"]["approval"]}})
    except ApiError as error:
        return str(error)
    return ""


def test_a_decision_on_the_stored_plan_is_taken(ground: HostileStand, planned: str) -> None:
    assert _decision_refused(ground.tenant, planned, APPROVED) == ""


def test_a_decision_without_a_plan_is_refused(ground: HostileStand) -> None:
    assert refusal(ground.tenant, rollbacks(TENANT) + DRY, APPROVED).startswith(("403", "422"))


@BY_CHOICE
@pytest.mark.parametrize("field", APPROVALS, ids=lambda one: one.path)
def test_approvals(ground: HostileStand, planned: str, field: Field, choice: Choice) -> None:
    tried = Trial([APPROVED], lambda made: _decision_refused(ground.tenant, planned, made))
    assert tried.faults(field, choice(field)) == ""


@pytest.mark.parametrize("kind", ["rollbackpolicies", "rollbacks"])
def test_a_status_is_nobodys_but_the_operators(ground: HostileStand, kind: str) -> None:
    path = f"/apis/rollback.tickettoken.io/v1alpha1/namespaces/{TENANT}/{kind}/carrier/status"
    said = ""
    try:
        ground.tenant.merge(f"{path}?dryRun=All", {"status": {}})
    except Exception as error:
        said = str(error)
    assert said.startswith("403")


@pytest.mark.parametrize("place", [policies(NEIGHBOUR), rollbacks(NEIGHBOUR)])
def test_nothing_is_taken_for_another_namespace(ground: HostileStand, place: str) -> None:
    made = carriers.policy() if "policies" in place else carriers.request()
    assert refusal(ground.tenant, place + DRY, made).startswith("403")
