from django.db import migrations

CREATE = """
CREATE INDEX jobs_task_put_off ON procrastinate_jobs ((args->>'job_id'))
    WHERE status = 'todo' AND scheduled_at IS NOT NULL;
"""


class Migration(migrations.Migration):
    """The tasks that were put off, by job: `jobs.turns` calls the next of an organisation's."""

    dependencies = [("jobs", "0004_fetch")]

    operations = [migrations.RunSQL(CREATE, "DROP INDEX jobs_task_put_off")]
