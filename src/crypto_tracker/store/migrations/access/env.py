"""Runs the migrations of the tokens on the connection that `store.database` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
