"""The risk tier of a use case, why it has it, and who chose it when. A use case without one is asked for it."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="usecase",
            name="risk_tier",
            field=models.CharField(
                blank=True,
                choices=[("minimal", "Minimal"), ("limited", "Limited"), ("high", "High")],
                db_default="",
                default="",
                help_text="How much harm it could do; decides who has to agree.",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="usecase",
            name="risk_tier_reason",
            field=models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="Why this tier, in a sentence.",
                verbose_name="reason for the tier",
            ),
        ),
        migrations.AddField(
            model_name="usecase",
            name="risk_tier_set_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="usecase",
            name="risk_tier_set_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
    ]
