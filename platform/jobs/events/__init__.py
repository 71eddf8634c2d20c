"""`GET /api/v1/jobs/events`: what happens to an organisation's jobs, as server-sent events.

    trigger on the job tables ── NOTIFY: ids only ──▶ hub (one LISTEN a process) ── reads the rows, scoped ──▶ streams

- `listeners`  rows that say which organisations somebody listens to: without one, the triggers notify nobody
- `reading`    rows → events: snapshots, and what a notification is about
- `hub`        the connection that listens, and the fan-out to this process's streams
- `stream`     the body of one answer: snapshot, events, heartbeats, the credential looked at again
- `api`        the view
"""
