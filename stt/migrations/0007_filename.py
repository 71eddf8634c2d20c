from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def copy_names(apps, schema_editor):
    audio = apps.get_model("stt", "AudioFile").objects.filter(job=OuterRef("pk")).values("filename")[:1]
    apps.get_model("stt", "SttJob").objects.exclude(audio=None).update(filename=Subquery(audio))


class Migration(migrations.Migration):

    dependencies = [
        ("stt", "0006_turn"),
    ]

    operations = [
        migrations.AddField(
            model_name="sttjob",
            name="filename",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=255,
                help_text="As the client named it; for as long as the text would be kept.",
            ),
        ),
        migrations.RunPython(copy_names, migrations.RunPython.noop),
    ]
