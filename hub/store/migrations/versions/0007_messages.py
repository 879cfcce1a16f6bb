"""Messages that tell of changes, answers, forwards and edits; reactions, pins, mentions, what one user hid."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("message") as message:
        message.add_column(sa.Column("control", sa.Boolean(), nullable=False, server_default=sa.false()))
        message.add_column(sa.Column("reply_to", sa.String(length=40), nullable=True))
        message.add_column(sa.Column("forward_of", sa.String(length=40), nullable=True))
        message.add_column(sa.Column("edited_at", sa.BigInteger(), nullable=True))
        message.add_column(sa.Column("changed_seq", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("message") as message:
        for column in ("changed_seq", "edited_at", "forward_of", "reply_to", "control"):
            message.drop_column(column)
