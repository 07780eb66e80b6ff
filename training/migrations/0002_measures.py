"""Which figure decides of an evaluation, and its value: accuracy for the classifiers that there were until now."""

from django.db import migrations, models
from django.db.models import F


def accuracy_decided(apps, schema_editor):
    apps.get_model("training", "Evaluation").objects.update(score=F("accuracy"))


class Migration(migrations.Migration):
    dependencies = [
        ("training", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="evaluation",
            name="metric",
            field=models.CharField(db_default="accuracy", default="accuracy", max_length=40),
        ),
        migrations.AddField(
            model_name="evaluation",
            name="score",
            field=models.FloatField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="evaluation",
            name="accuracy",
            field=models.FloatField(null=True),
        ),
        migrations.AlterField(
            model_name="evaluation",
            name="macro_f1",
            field=models.FloatField(null=True),
        ),
        migrations.RunPython(accuracy_decided, migrations.RunPython.noop),
    ]
