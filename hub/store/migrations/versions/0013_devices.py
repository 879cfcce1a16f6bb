"""Devices that were shown out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("device", sa.Column("kicked_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("device") as device:
        device.drop_column("kicked_at")
