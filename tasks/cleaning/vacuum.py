"""Prefect's vacuum on the database that the environment names: `python -m tasks.cleaning.vacuum`.

Prefect runs it in a server that is up for hours; a store's own server is up as long as a command.
"""

import asyncio


async def _clear() -> None:
    from prefect.server.database import provide_database_interface
    from prefect.server.services import db_vacuum

    db = provide_database_interface()
    await db_vacuum.vacuum_old_flow_runs(db=db)
    await db_vacuum.vacuum_orphaned_logs(db=db)
    await db_vacuum.vacuum_orphaned_artifacts(db=db)
    await db_vacuum.vacuum_stale_artifact_collections(db=db)


if __name__ == "__main__":
    asyncio.run(_clear())
