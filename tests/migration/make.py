"""Write the next migration from what the tables say: `python -m tests.migration.make NUMBER "What it does"`."""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from alembic import command

from idds.store.database import Database
from idds.store.upgrade import configuration, upgrade


async def make(number: str, title: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/idds.sqlite")
        await upgrade(database)
        made = await database.run(
            lambda connection: command.revision(
                configuration(connection), message=title, autogenerate=True, rev_id=number
            )
        )
        await database.close()
    path = Path(made.path)  # type: ignore[union-attr]
    # Alembic writes this type's argument without its module.
    path.write_text(re.sub(r"astext_type=Text\(\)", "astext_type=sa.Text()", path.read_text()))


if __name__ == "__main__":
    asyncio.run(make(*sys.argv[1:3]))
