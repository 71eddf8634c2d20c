#!/usr/bin/env python3
"""Whether the release before can run beside this one's schema: looks at the SQL of each migration since then.

python scripts/lint_migrations.py             says what breaks the rules of docs/operations.md; exit code 1 if anything
python scripts/lint_migrations.py --release   notes in deploy/migrations.toml that all there are have been released
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "deploy" / "migrations.toml"
OTHERS = {"admin", "auth", "contenttypes", "sessions"}
"""Django's own, which look after themselves."""

HEADER = """\
# What scripts/lint_migrations.py goes by.
#
# [released]: of each app the last migration of the last release, written by `scripts/lint_migrations.py --release` when
# one is made. Empty: nothing has been released, so there is nothing that a migration could break.
# [waived]: migrations that break a rule all the same, each with its reason.
"""


def rules() -> dict[str, str]:
    """The remedy by the linter's code."""
    index = "use AddIndexConcurrently or RemoveIndexConcurrently in a migration with atomic = False"
    return {
        "NOT_NULL": "the release before inserts rows without it: give the field a db_default, or let it be null",
        "DROP_COLUMN": "the release before reads it: stop using it in one release, drop it in the next",
        "DROP_TABLE": "the release before reads it: stop using it in one release, drop it in the next",
        "RENAME_COLUMN": "add the new one, write both, copy, read the new one, drop the old one a release later",
        "RENAME_TABLE": "keep the table's name (Meta.db_table)",
        "ALTER_COLUMN": "a new type rewrites the table and surprises the release before: add a column instead",
        "ADD_UNIQUE": "build the index concurrently, then ADD CONSTRAINT … USING INDEX",
        "CREATE_INDEX": f"writers wait for it: {index}",
        "CREATE_INDEX_EXCLUSIVE": "an index in a transaction with ALTER TABLE holds its lock: two migrations",
        "DROP_INDEX": f"everybody waits for it: {index}",
        "REINDEX": "REINDEX CONCURRENTLY",
    }


def problems(statements: list[str]) -> Iterator[str]:
    """What the release before, or its users, could not live with. statements: a migration's SQL."""
    from django_migration_linter.sql_analyser import analyse_sql_statements
    from django_migration_linter.sql_analyser.postgresql import PostgresqlAnalyser

    errors, _, warnings = analyse_sql_statements(PostgresqlAnalyser, statements, [])
    for issue in [*errors, *warnings]:
        yield f"{issue.message}: {rules()[issue.code]}"


def lint(record: dict[str, Any]) -> list[str]:
    """One line for each rule that a migration breaks, since the last release and without a waiver.

    None before the first release: no older one runs anywhere.
    """
    return list(_broken_rules(record)) if record["released"] else []


def _broken_rules(record: dict[str, Any]) -> Iterator[str]:
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(connection)
    for app, name in _since(loader, record["released"]):
        if f"{app}.{name}" in record["waived"]:
            continue
        state = loader.project_state((app, name), at_end=False)
        migration = loader.graph.nodes[app, name]
        with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
            migration.apply(state, editor, collect_sql=True)
        statements = ["BEGIN;", *editor.collected_sql] if migration.atomic else editor.collected_sql
        yield from (f"{app}.{name}: {problem}" for problem in problems(statements))


def _since(loader: Any, released: dict[str, str]) -> list[tuple[str, str]]:
    """(app, name) of ours and of procrastinate's that the last release did not have."""
    before: set[tuple[str, str]] = set()
    for app, name in released.items():
        before.update(loader.graph.forwards_plan((app, name)))
    return sorted(key for key in loader.disk_migrations if key not in before and key[0] not in OTHERS)


def read() -> dict[str, Any]:
    return {"released": {}, "waived": {}, **tomllib.loads(RECORD.read_text())}


def _note_release() -> None:
    from django.db.migrations.loader import MigrationLoader

    leaves = sorted(key for key in MigrationLoader(None).graph.leaf_nodes() if key[0] not in OTHERS)
    lines = [HEADER, "[released]", *(f'{app} = "{name}"' for app, name in leaves), "", "[waived]"]
    RECORD.write_text("\n".join(lines) + "\n")


def set_up() -> None:
    sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", action="store_true", help="Note that all migrations have been released.")
    arguments = parser.parse_args()
    set_up()
    if arguments.release:
        _note_release()
        return
    found = lint(read())
    print("\n".join(found) or "No migration breaks a rule.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
