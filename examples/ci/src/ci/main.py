import asyncio
from typing import Annotated

from dagger import DefaultPath, Directory, dag, function, object_type


@object_type
class Ci:
    @function
    async def test(self, app: Annotated[Directory, DefaultPath("app")]) -> str:
        """Run the tests on two versions of Python."""

        async def on(version: str) -> str:
            python = dag.container().from_(f"python:{version}-slim")
            ready = python.with_exec(["pip", "install", "--root-user-action=ignore", "pytest"])
            tested = ready.with_directory("/app", app).with_exec(["pytest", "-v", "/app"])
            summary = (await tested.stdout()).splitlines()[-1]
            return f"Python {version}: {summary.strip('= ')}"

        return "\n".join(await asyncio.gather(on("3.11"), on("3.13")))
