"""Every model says whether its rows change only with a ledger entry beside them, and why not where not."""

from __future__ import annotations

import pytest
from django.apps import apps

from governance import guards
from governance.models.governed import OF_OTHERS, Exempt, Governed, declaration
from tests.architecture import source

OURS = [model for package in source.PACKAGES for model in apps.get_app_config(package).get_models()]


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label)
def test_a_model_says_whether_it_is_governed(model):
    declared = vars(model).get("governed")
    assert isinstance(declared, Governed | Exempt), (
        f"{model._meta.label} does not say whether it is governed. Write `governed = Governed()` into the class when its rows "
        "are changed by services that record (name its operational columns: leases, heartbeats, last use), or "
        '`governed = Exempt("why")` when rows may change without an entry. Both are in governance.models.governed.'
    )
    if isinstance(declared, Exempt):
        assert len(declared.reason.split()) >= 5, f"{model._meta.label}: say in a sentence why it may change unrecorded"
        return
    unknown = (
        {*declared.operational, *declared.moves} | {declared.born[0]}
        if declared.born
        else {*declared.operational, *declared.moves}
    ) - set(guards.columns_of(model))
    assert not unknown, f"{model._meta.label} has no columns {sorted(unknown)}"
    key = model._meta.pk.column
    assert key not in declared.operational


def test_what_gives_a_right_is_governed():
    rights = ["governance.roleassignment", "governance.share", "governance.apitoken", "governance.user"]
    rights += ["guardian.userobjectpermission", "guardian.groupobjectpermission"]
    guarded = {model._meta.label_lower for model in guards.governed_models()}
    assert set(rights) <= guarded


def test_tables_of_relations_follow_the_model_that_declares_them():
    relations = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.auto_created and model._meta.app_label in source.PACKAGES
    ]
    assert relations
    for relation in relations:
        assert type(declaration(relation)) is type(declaration(relation._meta.auto_created))


def test_tables_of_libraries_are_named_as_they_are():
    for label in OF_OTHERS:
        assert apps.get_model(label)


def test_every_table_of_a_library_is_governed_or_says_why_not():
    ours = {model._meta.label_lower for model in OURS}
    others = {model._meta.label_lower for model in apps.get_models()} - ours
    unsaid = sorted(others - OF_OTHERS.keys())
    assert not unsaid, (
        f"{unsaid} are tables of libraries of which nobody has said whether a row lets somebody in or gives a right. Name them "
        "in governance.models.governed.OF_OTHERS: `Governed()` with what the library changes by itself as operational columns, "
        'or `Exempt("why")`.'
    )
    for label, declared in OF_OTHERS.items():
        if isinstance(declared, Exempt):
            assert len(declared.reason.split()) >= 5, f"{label}: say in a sentence why it may change unrecorded"


def test_what_lets_somebody_in_is_governed():
    ways = {"governance.user": "password", "mfa.authenticator": "type", "socialaccount.socialaccount": "uid"}
    ways |= {"account.emailaddress": "email", "governance.browsersession": "user_id"}
    for label, column in ways.items():
        declared = declaration(apps.get_model(label))
        assert isinstance(declared, Governed)
        assert column not in declared.operational, f"{label}.{column} changes who gets in"
