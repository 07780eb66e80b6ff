"""Erasures that wait for a second person, and delegations that begin later."""

import importlib

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

steps = importlib.import_module("governance.migrations.0004_approval_steps")


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0007_ledger_queue"),
    ]

    operations = [
        # SQLite rebuilds the table of delegations, which triggers of other tables name.
        migrations.RunPython(steps.remove, steps.install),
        migrations.AddField(
            model_name="reviewdelegation",
            name="waits",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.CreateModel(
            name="Erasure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("written", models.BooleanField(default=False)),
                ("reason", models.TextField()),
                ("asked_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting for a second person"),
                            ("erased", "Erased"),
                            ("declined", "Declined"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("texts", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "entry",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="erasures",
                        to="governance.ledgerentry",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="erasures",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(condition=models.Q(("state", "waiting")), fields=["-id"], name="erasure_waiting")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("entry__isnull", False), ("person__isnull", True)),
                            models.Q(("entry__isnull", True), ("person__isnull", False)),
                            _connector="OR",
                        ),
                        name="erasure_of_an_entry_or_a_person",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("decided_by", None),
                            models.Q(("decided_by", models.F("asked_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="erasure_is_agreed_to_by_another",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "waiting")), fields=("entry",), name="one_erasure_waits_per_entry"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "waiting")),
                        fields=("person",),
                        name="one_erasure_waits_per_person",
                    ),
                ],
            },
        ),
        migrations.RunPython(steps.install, steps.remove),
    ]
