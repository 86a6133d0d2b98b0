"""what is wrong with a broadcast's sound, and until when it waits"""

from alembic import op
import sqlalchemy as sa


revision = '0006_doubted_sound'
down_revision = '0005_register_and_tests'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('broadcast', sa.Column('doubt', sa.Text(), nullable=False, server_default=''))
    op.add_column('broadcast', sa.Column('airs', sa.Integer(), nullable=True))
    op.add_column('broadcast', sa.Column('aired_by', sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column('broadcast', 'aired_by')
    op.drop_column('broadcast', 'airs')
    op.drop_column('broadcast', 'doubt')
