"""the class of a terminal's loudspeaker"""

from alembic import op
import sqlalchemy as sa


revision = '0002_terminal_speaker'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('terminal', sa.Column('speaker', sa.Text(), nullable=False, server_default='horn'))
