"""A job is created when its request is taken up, not when its row is written. Nothing changes in the database."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("stt", "0007_filename")]

    operations = [
        migrations.AlterField(
            model_name="sttjob",
            name="created_at",
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
    ]
