"""Reserved."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("projects", "0002_risk_tier")]
    operations = []
