"""Upgrades without a pause: no migration since the last release breaks the release before it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, migrations, models
from django.db.migrations.state import ModelState, ProjectState

from scripts import lint_migrations


def test_migrations_since_the_last_release_keep_the_rules(database: None) -> None:
    """docs/operations.md has the rules, and how to waive one."""
    assert lint_migrations.lint(lint_migrations.read()) == []


def test_the_record_is_right(database: None) -> None:
    from django.db.migrations.loader import MigrationLoader

    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    record = lint_migrations.read()
    assert {f"{app}.{name}" for app, name in record["released"].items()} <= known
    assert set(record["waived"]) <= known
    assert all(len(reason) > 20 for reason in record["waived"].values()), "a waiver says why"


def sql(*operations: Any) -> list[str]:
    """What these operations do to a table of the release before, in a transaction."""
    columns = [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=10))]
    state = ProjectState()
    state.add_model(ModelState("sample", "Row", columns))
    statements = ["BEGIN;"]
    for operation in operations:
        before = state.clone()
        operation.state_forwards("sample", state)
        with connection.schema_editor(collect_sql=True) as editor:
            operation.database_forwards("sample", editor, before, state)
        statements += editor.collected_sql
    return statements


EXPANDING = {
    "a nullable column": migrations.AddField("row", "note", models.TextField(null=True)),
    "a column with a default of the database's": migrations.AddField("row", "turn", models.IntegerField(db_default=0)),
    "a table": migrations.CreateModel("Other", [("id", models.BigAutoField(primary_key=True))]),
}
CONTRACTING = {
    "a column that the release before does not fill": (
        migrations.AddField("row", "turn", models.IntegerField(default=0)), "db_default"),
    "a dropped column": (migrations.RemoveField("row", "name"), "DROPPING columns"),
    "a renamed column": (migrations.RenameField("row", "name", "title"), "RENAMING columns"),
    "another type": (migrations.AlterField("row", "name", models.IntegerField()), "ALTERING columns"),
    "a dropped table": (migrations.DeleteModel("row"), "DROPPING table"),
    "an index that writers wait for": (
        migrations.AddIndex("row", models.Index(fields=["name"], name="row_name")), "AddIndexConcurrently"),
    "a unique constraint": (
        migrations.AddConstraint("row", models.UniqueConstraint(fields=["name"], name="row_one")), "UNIQUE|unique"),
}  # fmt: skip


@pytest.mark.parametrize("operation", EXPANDING.values(), ids=EXPANDING)
def test_what_expands_is_let_through(database: None, operation: Any) -> None:
    assert list(lint_migrations.problems(sql(operation))) == []


@pytest.mark.parametrize(("operation", "said"), CONTRACTING.values(), ids=CONTRACTING)
def test_what_contracts_is_found(database: None, operation: Any, said: str) -> None:
    found = "\n".join(lint_migrations.problems(sql(operation)))
    assert any(word in found for word in said.split("|")), found


def test_indexes_built_beside_the_traffic_are_let_through(database: None) -> None:
    concurrently = 'CREATE INDEX CONCURRENTLY "row_name" ON "sample_row" ("name");'
    assert list(lint_migrations.problems([concurrently])) == []


def test_every_migration_can_be_looked_at_and_only_newer_ones_are(database: None) -> None:
    """As if next to nothing had been released: what was made before the first release does not keep the rules."""
    assert lint_migrations.lint({"released": {}, "waived": {}}) == []
    older = {"accounts": "0001_initial"}
    found = lint_migrations.lint({"released": older, "waived": {}})
    assert any(line.startswith("stt.0002_queue: NOT NULL") for line in found)
    assert not [line for line in found if line.startswith("accounts.0001_initial")]
    waived = {line.partition(":")[0]: "waived for the test" for line in found}
    assert lint_migrations.lint({"released": older, "waived": waived}) == []
