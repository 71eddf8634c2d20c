from django.db import migrations

CREATE = """
ALTER TABLE jobs_eventlistener SET UNLOGGED;

-- Tells the servers on which streams are open that something happened: ids only, and only where somebody listens.
CREATE FUNCTION jobs_tell(organization uuid, task text, event text, object uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM jobs_eventlistener
               WHERE organization_id = organization AND seen_at > now() - interval '60 seconds') THEN
        PERFORM pg_notify('job_events', concat_ws(' ', organization, task, event, object));
    END IF;
END
$$;

CREATE FUNCTION jobs_job_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    same boolean := TG_OP = 'UPDATE' AND OLD.status = NEW.status AND OLD.attempts = NEW.attempts;
    event text := CASE
        WHEN NEW.status = 'queued' THEN 'job.queued'
        WHEN NEW.status <> 'processing' THEN 'job.ended'
        WHEN same THEN 'job.progress'
        ELSE 'job.started'
    END;
BEGIN
    PERFORM jobs_tell(NEW.organization_id, TG_ARGV[0], event, NEW.id);
    RETURN NULL;
END
$$;

CREATE FUNCTION jobs_batch_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM jobs_tell(NEW.organization_id, NEW.task, 'batch.finished', NEW.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_batch_finished AFTER UPDATE OF finished_at ON jobs_batch
    FOR EACH ROW WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL) EXECUTE FUNCTION jobs_batch_event();
"""
DROP = """
DROP TRIGGER jobs_batch_finished ON jobs_batch;
DROP FUNCTION jobs_batch_event();
"""
DROP_FUNCTIONS = """
DROP FUNCTION jobs_job_event();
DROP FUNCTION jobs_tell(uuid, text, text, uuid);
"""
ON_JOBS = """
CREATE TRIGGER jobs_{task}_created AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION jobs_job_event('{task}');
CREATE TRIGGER jobs_{task}_changed AFTER UPDATE ON {table} FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.attempts <> NEW.attempts OR OLD.progress <> NEW.progress
          OR OLD.stage <> NEW.stage)
    EXECUTE FUNCTION jobs_job_event('{task}');
"""
OFF_JOBS = """
DROP TRIGGER jobs_{task}_changed ON {table};
DROP TRIGGER jobs_{task}_created ON {table};
"""


class Migration(migrations.Migration):
    """Every change of a job's or batch's row is notified to whoever follows it: see `jobs.events`."""

    dependencies = [
        ("jobs", "0002_batches"),
        ("stt", "0003_transcription_defaults"),
        ("tts", "0002_queue"),
    ]

    operations = [
        migrations.RunSQL(migrations.RunSQL.noop, DROP_FUNCTIONS),
        migrations.RunSQL(CREATE, DROP),
        *(
            migrations.RunSQL(ON_JOBS.format(task=task, table=table), OFF_JOBS.format(task=task, table=table))
            for task, table in (("tts", "tts_ttsjob"), ("stt", "stt_sttjob"))
        ),
    ]
