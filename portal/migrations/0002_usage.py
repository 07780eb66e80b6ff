"""Usage of models and data, the quotas that it has to fit into, what is counted of them and what people were told."""

import django.db.models.deletion
import django.db.models.functions.comparison
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0006_break_glass"),
        ("portal", "0001_initial"),
        ("projects", "0004_means_of_teams"),
        ("training", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Quota",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "subject",
                    models.CharField(
                        choices=[
                            ("organisation", "The whole organisation"),
                            ("team", "A team's models and data"),
                            ("model", "A model"),
                            ("use_case", "A use case"),
                            ("person", "A person"),
                        ],
                        max_length=12,
                    ),
                ),
                ("each_person", models.BooleanField(default=False)),
                (
                    "window",
                    models.CharField(
                        choices=[("minute", "a minute"), ("hour", "an hour"), ("day", "a day"), ("month", "a month")],
                        max_length=8,
                    ),
                ),
                (
                    "unit",
                    models.CharField(
                        choices=[("calls", "calls"), ("tokens", "tokens"), ("bytes", "bytes"), ("money", "money")],
                        max_length=8,
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=6, max_digits=18)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("set_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "model",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="quotas",
                        to="training.registeredmodel",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="quotas",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "set_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="quotas",
                        to="projects.team",
                    ),
                ),
                (
                    "use_case",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="quotas",
                        to="projects.usecase",
                    ),
                ),
            ],
            options={
                "ordering": ["-changed_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="QuotaCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("holder", models.BigIntegerField(default=0)),
                ("begins_at", models.DateTimeField()),
                ("used", models.BigIntegerField(default=0)),
                (
                    "quota",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="counts", to="portal.quota"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="QuotaRefusal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("told_at", models.DateTimeField()),
                ("untold", models.BigIntegerField(default=0)),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "quota",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="refusals", to="portal.quota"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="QuotaWarning",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("holder", models.BigIntegerField(default=0)),
                ("begins_at", models.DateTimeField()),
                (
                    "quota",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="warnings", to="portal.quota"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Usage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("commit", models.CharField(blank=True, max_length=40)),
                ("alias", models.CharField(blank=True, max_length=40)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("predict", "Prediction"),
                            ("chat", "Chat"),
                            ("completion", "Completion"),
                            ("embedding", "Embedding"),
                            ("download", "Download"),
                            ("upload", "Upload"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("answered", "Answered"),
                            ("failed", "Failed"),
                            ("refused", "Refused"),
                            ("unavailable", "Unavailable"),
                            ("cancelled", "Cancelled"),
                        ],
                        max_length=12,
                    ),
                ),
                ("prompt_tokens", models.BigIntegerField(default=0)),
                ("completion_tokens", models.BigIntegerField(default=0)),
                ("texts", models.IntegerField(default=0)),
                ("bytes", models.BigIntegerField(default=0)),
                ("latency_ms", models.IntegerField(default=0)),
                ("cost", models.DecimalField(decimal_places=6, default=0, max_digits=18)),
                ("currency", models.CharField(max_length=3)),
                ("engine", models.CharField(blank=True, max_length=40)),
                ("client", models.CharField(blank=True, max_length=120)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("findings", models.JSONField(default=dict)),
                (
                    "base_model",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="usage",
                        to="training.basemodel",
                    ),
                ),
                (
                    "dataset_version",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="usage",
                        to="projects.datasetversion",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="usage",
                        to="training.registeredmodel",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="usage", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="usage",
                        to="projects.team",
                    ),
                ),
                (
                    "token",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="governance.apitoken",
                    ),
                ),
                (
                    "use_case",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="usage",
                        to="projects.usecase",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="usage",
                        to="training.modelversion",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "usage",
                "ordering": ["-at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="GuardrailPolicy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("rules", models.JSONField(default=dict)),
                ("keep_days", models.PositiveIntegerField(default=0)),
                ("set_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "model",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="guardrail_policy",
                        to="training.registeredmodel",
                    ),
                ),
                (
                    "set_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "guardrail policies",
            },
        ),
        migrations.CreateModel(
            name="Feedback",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "thumb",
                    models.CharField(choices=[("up", "It helped"), ("down", "It did not help")], max_length=4),
                ),
                ("comment", models.TextField(blank=True)),
                ("label", models.CharField(blank=True, max_length=200)),
                ("given_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "usage",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="feedback", to="portal.usage"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "feedback",
                "ordering": ["-changed_at", "-id"],
                "indexes": [models.Index(fields=["-changed_at", "-id"], name="feedback_changed")],
            },
        ),
        migrations.CreateModel(
            name="Body",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sealed", models.BinaryField()),
                ("purge_at", models.DateTimeField(db_index=True)),
                (
                    "usage",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="body", to="portal.usage"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "bodies",
            },
        ),
        migrations.AddIndex(
            model_name="quota",
            index=models.Index(fields=["-changed_at", "-id"], name="quota_changed"),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("model", None),
                        ("person", None),
                        ("subject", "organisation"),
                        ("team", None),
                        ("use_case", None),
                    ),
                    models.Q(
                        ("model", None),
                        ("person", None),
                        ("subject", "team"),
                        ("team__isnull", False),
                        ("use_case", None),
                    ),
                    models.Q(
                        ("model__isnull", False),
                        ("person", None),
                        ("subject", "model"),
                        ("team__isnull", False),
                        ("use_case", None),
                    ),
                    models.Q(
                        ("model", None),
                        ("person", None),
                        ("subject", "use_case"),
                        ("team__isnull", False),
                        ("use_case__isnull", False),
                    ),
                    models.Q(
                        ("each_person", False),
                        ("model", None),
                        ("person__isnull", False),
                        ("subject", "person"),
                        ("team", None),
                        ("use_case", None),
                    ),
                    _connector="OR",
                ),
                name="quota_has_its_subject",
            ),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.CheckConstraint(condition=models.Q(("amount__gte", 0)), name="quota_is_not_negative"),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.UniqueConstraint(
                models.F("subject"),
                django.db.models.functions.comparison.Coalesce("team", 0),
                django.db.models.functions.comparison.Coalesce("model", 0),
                django.db.models.functions.comparison.Coalesce("use_case", 0),
                django.db.models.functions.comparison.Coalesce("person", 0),
                models.F("each_person"),
                models.F("window"),
                models.F("unit"),
                condition=models.Q(("ended_at", None)),
                name="one_quota_of_a_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="quotacount",
            constraint=models.UniqueConstraint(fields=("quota", "holder", "begins_at"), name="one_count_per_window"),
        ),
        migrations.AddConstraint(
            model_name="quotarefusal",
            constraint=models.UniqueConstraint(fields=("quota", "person"), name="one_refusal_per_person"),
        ),
        migrations.AddConstraint(
            model_name="quotawarning",
            constraint=models.UniqueConstraint(fields=("quota", "holder", "begins_at"), name="one_warning_per_window"),
        ),
        migrations.AddIndex(
            model_name="usage",
            index=models.Index(fields=["-at", "-id"], name="usage_at"),
        ),
        migrations.AddIndex(
            model_name="usage",
            index=models.Index(fields=["person", "-at", "-id"], name="usage_of_person"),
        ),
        migrations.AddIndex(
            model_name="usage",
            index=models.Index(fields=["team", "-at", "-id"], name="usage_of_team"),
        ),
        migrations.AddIndex(
            model_name="usage",
            index=models.Index(fields=["model", "-at", "-id"], name="usage_of_model"),
        ),
        migrations.AddIndex(
            model_name="usage",
            index=models.Index(fields=["use_case", "-at", "-id"], name="usage_of_use_case"),
        ),
    ]
