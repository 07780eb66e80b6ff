"""What a reviewer set as a condition is read on the pages of the data, of the model and of its version."""

import pytest
from django.urls import reverse

from governance.models import ApprovalCondition, ApprovalRequest
from governance.policy import Gate
from governance.services import approvals
from tests.training.services.test_registry import USE, make_version
from training.services import registry

pytestmark = pytest.mark.django_db
LOOK = "Look at a hundred answers after a month."
NAME = "Name who looks after it."


@pytest.fixture
def published(ground, bob, carol, system, tmp_path):
    """Return a version that is published on two conditions, one of which is met."""
    version = make_version(ground, bob, system, tmp_path / "run")
    asked = registry.request_publication(actor=bob, version=version, intended_use=USE)
    approvals.decide(actor=carol, request=asked, verdict="approve", digest=asked.digest, conditions=f"{LOOK}\n{NAME}")
    approvals.meet(actor=carol, condition=ApprovalCondition.objects.get(text=NAME), note="Alice does.")
    return version


@pytest.fixture
def read(client, django_assert_max_num_queries):
    """Return a function that gives a page as a person sees it, for at most twelve queries."""

    def page(person, address) -> str:
        client.force_login(person)
        assert client.get(address).status_code == 200
        with django_assert_max_num_queries(12):
            return client.get(address).content.decode()

    return page


def test_the_pages_of_a_model_and_of_its_version_show_the_conditions(published, bob, dan, eve, read):
    for address in (published.model.get_absolute_url(), published.get_absolute_url()):
        page = read(bob, address)
        for words in (LOOK, "To be met", NAME, "Alice does."):
            assert words in page, address
        assert LOOK in read(dan, address)
        # Whoever may only use the model may not read its review either.
        assert LOOK not in read(eve, address)


def test_conditions_of_an_approval_that_ended_are_not_shown(published, bob, carol, read):
    asked = ApprovalRequest.objects.get(gate=Gate.MODEL_PUBLICATION.value)
    approvals.revoke(actor=carol, request=asked, reason="It harms somebody.")
    assert LOOK not in read(bob, published.model.get_absolute_url())


def test_the_pages_of_a_dataset_version_show_the_conditions_of_its_clearances(ground, alice, bob, carol, read):
    clearance = ground.version.clearances.get()
    place = [ground.version.dataset.team.slug, ground.version.dataset.name, ground.version.number]
    addresses = [reverse(f"projects:{name}", args=place) for name in ("dataset_version", "dataset_use")]
    assert "Conditions of its approval" not in read(bob, addresses[0])
    approvals.end(actor=alice, gate=Gate.DATASET_USE, subject=clearance, because="To be cleared on a condition.")
    asked = approvals.request(actor=alice, gate=Gate.DATASET_USE, subject=clearance)
    approvals.decide(actor=carol, request=asked, verdict="approve", digest=asked.digest, conditions=LOOK)
    for address in addresses:
        assert LOOK in read(bob, address)
