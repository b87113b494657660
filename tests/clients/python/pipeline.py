"""A pipeline through the official Python library; prints what it saw as one JSON document."""

import asyncio
import json
import os
import sys

import dagger
from dagger import dag


async def pipeline(host_folder: str) -> dict:
    seen = {}
    secret = dag.set_secret("token", os.environ["PIPELINE_SECRET"])
    cache = dag.cache_volume("pipeline-" + os.environ["PIPELINE_RUN"])
    source = dag.directory().with_new_file("a.txt", "one\n").with_new_file("sub/b.txt", "two\n")
    base = (
        dag.container()
        .from_("busybox:latest")
        .with_mounted_directory("/src", source)
        .with_mounted_cache("/cache", cache)
        .with_mounted_secret("/run/token", secret)
        .with_secret_variable("TOKEN", secret)
        .with_env_variable("COLOUR", "green")
        .with_new_file("/etc/note", "noted")
        .with_workdir("/src")
    )
    ran = base.with_exec(
        ["sh", "-c", "cat a.txt sub/b.txt /etc/note; echo; echo $COLOUR; cat /run/token | wc -c; echo to-stderr >&2; echo kept > /cache/f"]
    )
    seen["stdout"] = await ran.stdout()
    seen["stderr"] = await ran.stderr()
    seen["scrubbed"] = await base.with_exec(["sh", "-c", "echo $TOKEN; cat /run/token"]).stdout()
    seen["cache"] = await base.with_env_variable("AGAIN", "1").with_exec(["cat", "/cache/f"]).stdout()
    seen["entries"] = await source.entries()
    seen["sub"] = await source.directory("sub").file("b.txt").contents()
    seen["size"] = await source.file("a.txt").size()
    seen["env"] = sorted([await v.name() for v in await base.env_variables()])
    seen["env_value"] = await base.env_variable("COLOUR")
    synced = await ran.sync()
    seen["synced"] = await synced.stdout() == seen["stdout"]
    again = dag.load_container_from_id(dagger.ContainerID(await ran.id()))
    seen["loaded"] = await again.stdout() == seen["stdout"]
    folder = dag.load_directory_from_id(dagger.DirectoryID(await source.id()))
    seen["loaded_entries"] = await folder.entries()
    host = dag.host().directory(host_folder)
    seen["host"] = await host.file("host.txt").contents()
    out = os.path.join(host_folder, "out")
    await dag.container().from_("busybox").with_exec(["sh", "-c", "mkdir /o && echo hi > /o/x"]).directory("/o").export(out)
    with open(os.path.join(out, "x")) as file:
        seen["exported"] = file.read()
    try:
        await base.with_exec(["sh", "-c", "echo some; echo bad >&2; exit 42"]).stdout()
    except dagger.ExecError as error:
        seen["error"] = {
            "exit": error.exit_code,
            "stdout": error.stdout,
            "stderr": error.stderr,
            "command": error.command,
        }
    try:
        await dag.container().from_("busybox").file("/nothing/here").contents()
    except dagger.QueryError as error:
        seen["missing"] = str(error)
    return seen


async def main() -> None:
    async with dagger.connection(dagger.Config(log_output=sys.stderr)):
        print(json.dumps(await pipeline(sys.argv[1])))


asyncio.run(main())
