"""The rights over a team's means: who sees its usage, sets its quotas, makes its models stricter.

Owners of teams hold them from now on; those who own one already are given them here, since rights in a team are written
when a role is granted.
"""

from django.db import migrations

ADDED = {
    "usage.view": "Can usage: view",
    "quota.manage": "Can quota: manage",
    "guardrail.tighten": "Can guardrail: tighten",
}


def give(apps, schema_editor):
    owners = apps.get_model("governance", "RoleAssignment").objects.filter(role="team_owner").exclude(scope_id=None)
    if not owners.exists():
        return
    kind = apps.get_model("contenttypes", "ContentType").objects.get(app_label="projects", model="team")
    held = apps.get_model("guardian", "UserObjectPermission").objects
    for codename, name in ADDED.items():
        permission, _created = apps.get_model("auth", "Permission").objects.get_or_create(
            content_type=kind, codename=codename, defaults={"name": name}
        )
        for user, team in owners.values_list("user", "scope_id"):
            held.get_or_create(user_id=user, permission=permission, content_type=kind, object_pk=str(team))


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0003_use_case_search"),
        ("governance", "0006_break_glass"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("guardian", "0001_initial"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="team",
            options={
                "ordering": ["name"],
                "permissions": [
                    ("team.view", "Can team: view"),
                    ("team.edit", "Can team: edit"),
                    ("member.manage", "Can member: manage"),
                    ("use_case.view", "Can use case: view"),
                    ("use_case.propose", "Can use case: propose"),
                    ("use_case.edit", "Can use case: edit"),
                    ("use_case.move", "Can use case: move"),
                    ("dataset.view", "Can dataset: view"),
                    ("dataset.register", "Can dataset: register"),
                    ("dataset.edit", "Can dataset: edit"),
                    ("dataset.upload", "Can dataset: upload"),
                    ("dataset.download", "Can dataset: download"),
                    ("dataset.withdraw", "Can dataset: withdraw"),
                    ("dataset.share", "Can dataset: share"),
                    ("dataset.clear", "Can dataset: clear"),
                    ("base_model.import", "Can base model: import"),
                    ("job.view", "Can job: view"),
                    ("job.submit", "Can job: submit"),
                    ("job.control", "Can job: control"),
                    ("model.view", "Can model: view"),
                    ("model.register", "Can model: register"),
                    ("model.publish", "Can model: publish"),
                    ("model.retire", "Can model: retire"),
                    ("model.share", "Can model: share"),
                    ("model.use", "Can model: use"),
                    ("usage.view", "Can usage: view"),
                    ("quota.manage", "Can quota: manage"),
                    ("guardrail.tighten", "Can guardrail: tighten"),
                    ("review.view", "Can review: view"),
                    ("review.request", "Can review: request"),
                    ("review.comment", "Can review: comment"),
                ],
            },
        ),
        migrations.RunPython(give, migrations.RunPython.noop),
    ]
