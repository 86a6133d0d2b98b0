"""Alembic's entry: the store hands over its own open connection; there is no ini file."""

from alembic import context

from controller.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot ALTER in place
)
with context.begin_transaction():
    context.run_migrations()
