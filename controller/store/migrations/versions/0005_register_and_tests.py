"""retired terminals, tests that run by themselves, when each loudspeaker was heard"""

from alembic import op
import sqlalchemy as sa


revision = '0005_register_and_tests'
down_revision = '0004_rings_and_certificates'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('terminal', sa.Column('retired', sa.Integer(), nullable=True))
    op.add_column('terminal', sa.Column('replaced_by', sa.Text(), nullable=True))
    op.create_table('trial',
    sa.Column('test', sa.Text(), nullable=False),
    sa.Column('slot', sa.Integer(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('began', sa.Integer(), nullable=True),
    sa.Column('ended', sa.Integer(), nullable=True),
    sa.Column('broadcast', sa.Text(), nullable=False),
    sa.Column('planned', sa.Integer(), nullable=False),
    sa.Column('played', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('test', 'slot'),
    sqlite_with_rowid=False
    )
    op.create_index('fact_played', 'fact', ['terminal', 'at'], sqlite_where=sa.text("state = 'played'"))


def downgrade() -> None:
    op.drop_index('fact_played', 'fact')
    op.drop_table('trial')
    op.drop_column('terminal', 'replaced_by')
    op.drop_column('terminal', 'retired')
