"""rings that terminals hold, their certificates and passwords for the broker"""

from alembic import op
import sqlalchemy as sa


revision = '0004_rings_and_certificates'
down_revision = '0003_held_sets'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('terminal', sa.Column('ring', sa.Integer(), nullable=False, server_default='0'))
    op.add_column('terminal', sa.Column('broker_hash', sa.Text(), nullable=True))
    op.create_table('certificate',
    sa.Column('serial', sa.Text(), nullable=False),
    sa.Column('terminal', sa.Text(), nullable=False),
    sa.Column('issued', sa.Integer(), nullable=False),
    sa.Column('expires', sa.Integer(), nullable=False),
    sa.Column('revoked', sa.Integer(), nullable=True),
    sa.PrimaryKeyConstraint('serial'),
    sqlite_with_rowid=False
    )
    op.create_index('certificate_terminal', 'certificate', ['terminal'], unique=False)


def downgrade() -> None:
    op.drop_index('certificate_terminal', 'certificate')
    op.drop_table('certificate')
    op.drop_column('terminal', 'broker_hash')
    op.drop_column('terminal', 'ring')
