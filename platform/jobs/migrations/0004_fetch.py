from django.db import migrations

CREATE = """
CREATE INDEX jobs_task_next ON procrastinate_jobs (queue_name, priority DESC, id)
    WHERE status = 'todo' AND scheduled_at IS NULL;
CREATE INDEX jobs_task_due ON procrastinate_jobs (queue_name, scheduled_at)
    WHERE status = 'todo' AND scheduled_at IS NOT NULL;

-- In place of `procrastinate_fetch_job_v2`: the task of the highest priority that waits longest. That one sorts all that
-- is queued where the statistics know the table as a small one, as after a burst, and reads past the tasks of other
-- queues and of later. This one looks at the first of each queue, whatever the statistics say.
CREATE FUNCTION jobs_fetch_task(queues varchar[], worker bigint) RETURNS procrastinate_jobs LANGUAGE plpgsql
    SET enable_sort = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    taken procrastinate_jobs;
BEGIN
    WITH first_of_each AS (
        SELECT next.id, next.priority FROM unnest(queues) AS queue (name) CROSS JOIN LATERAL (
            SELECT id, priority FROM procrastinate_jobs
            WHERE queue_name = queue.name AND status = 'todo' AND scheduled_at IS NULL AND lock IS NULL
            ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS next
        UNION ALL
        SELECT due.id, due.priority FROM unnest(queues) AS queue (name) CROSS JOIN LATERAL (
            SELECT id, priority FROM procrastinate_jobs
            WHERE queue_name = queue.name AND status = 'todo' AND scheduled_at <= now() AND lock IS NULL
            ORDER BY scheduled_at LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS due
    )
    UPDATE procrastinate_jobs SET status = 'doing', worker_id = worker
    WHERE id = (SELECT id FROM first_of_each ORDER BY priority DESC, id LIMIT 1)
    RETURNING * INTO taken;
    RETURN taken;
END
$$;
"""
DROP = """
DROP FUNCTION jobs_fetch_task(varchar[], bigint);
DROP INDEX jobs_task_due;
DROP INDEX jobs_task_next;
"""


class Migration(migrations.Migration):
    """How workers take a task, at the same cost with a hundred thousand queued as with a hundred.

    For tasks without Procrastinate's `lock`, of which the platform has no others.
    """

    dependencies = [("jobs", "0003_events"), ("procrastinate", "0041_post_retry_failed_job")]

    operations = [migrations.RunSQL(CREATE, DROP)]
