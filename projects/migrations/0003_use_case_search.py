"""Use cases and datasets are found by the beginnings of their words; use cases are sorted by title.

The words of what is there are filled in; on PostgreSQL an index answers for them. Going back drops the
column, which is made of others.
"""

from django.db import migrations, models

import governance.models.words

WORDS = {"UseCase": ("title", "problem"), "Dataset": ("title", "name", "description")}


def fill(apps, schema_editor):
    """Write the words of every row, a thousand at a time."""
    for name, of in WORDS.items():
        model = apps.get_model("projects", name)
        batch = []
        for row in model.objects.using(schema_editor.connection.alias).only("pk", *of).iterator(chunk_size=1000):
            row.words = " ".join(governance.models.words.fold(" ".join(getattr(row, field) for field in of)))
            batch.append(row)
            if len(batch) == 1000:
                model.objects.bulk_update(batch, ["words"])
                batch = []
        model.objects.bulk_update(batch, ["words"])


def add_indexes(apps, schema_editor):
    """Let PostgreSQL index the words."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(governance.models.words.FUNCTION)
        vector = governance.models.words.VECTOR.format(column="words")
        for name in WORDS:
            table = f"projects_{name.lower()}"
            schema_editor.execute(f"CREATE INDEX {table}_words ON {table} USING gin ({vector})")


def drop_indexes(apps, schema_editor):
    """Drop what add_indexes made."""
    if schema_editor.connection.vendor == "postgresql":
        for name in WORDS:
            schema_editor.execute(f"DROP INDEX IF EXISTS projects_{name.lower()}_words")
        schema_editor.execute("DROP FUNCTION IF EXISTS gatehouse_words(text)")


class Migration(migrations.Migration):
    dependencies = [("projects", "0002_risk_tier")]
    operations = [
        migrations.AddField(
            model_name="dataset",
            name="words",
            field=governance.models.words.WordsField(
                blank=True, default="", editable=False, of=("title", "name", "description")
            ),
        ),
        migrations.AddField(
            model_name="usecase",
            name="words",
            field=governance.models.words.WordsField(blank=True, default="", editable=False, of=("title", "problem")),
        ),
        migrations.AddIndex(
            model_name="usecase",
            index=models.Index(fields=["title", "id"], name="use_case_title"),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(add_indexes, drop_indexes),
    ]
