"""A job is created when its request is taken up, not when its row is written. Nothing changes in the database."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("tts", "0007_speech_flags")]

    operations = [
        migrations.AlterField(
            model_name="ttsjob",
            name="created_at",
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
    ]
