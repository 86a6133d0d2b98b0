"""sets of clips that terminals hold ahead"""

from alembic import op
import sqlalchemy as sa


revision = '0003_held_sets'
down_revision = '0002_terminal_speaker'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('held_set',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('purpose', sa.Text(), nullable=False),
    sa.Column('manifest', sa.LargeBinary(), nullable=False),
    sa.Column('groups', sa.Text(), nullable=False),
    sa.Column('created', sa.Integer(), nullable=False),
    sa.Column('expires', sa.Integer(), nullable=False),
    sa.Column('dropped', sa.Integer(), nullable=True),
    sa.PrimaryKeyConstraint('id'),
    sqlite_with_rowid=False
    )
    op.create_table('staged',
    sa.Column('set', sa.Text(), nullable=False),
    sa.Column('terminal', sa.Text(), nullable=False),
    sa.Column('wanted', sa.Integer(), nullable=False),
    sa.Column('held', sa.Integer(), nullable=False),
    sa.Column('problem', sa.Text(), nullable=False),
    sa.Column('at', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('set', 'terminal'),
    sqlite_with_rowid=False
    )


def downgrade() -> None:
    op.drop_table('staged')
    op.drop_table('held_set')
