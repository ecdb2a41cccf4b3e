"""Runs migrations on the connection that `migrate.py` hands over."""

from alembic import context

from searchmesh_search.journal.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite's schema changes obey a transaction that we begin ourselves, whatever Alembic's default
    # says
    transactional_ddl=True,
)
context.run_migrations()
