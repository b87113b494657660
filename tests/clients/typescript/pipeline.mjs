// A pipeline through the official TypeScript library; prints what it saw as one JSON document.
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { connection, dag, ExecError } from "@dagger.io/dagger"

async function pipeline(hostFolder) {
  const seen = {}
  const secret = dag.setSecret("token", process.env.PIPELINE_SECRET)
  const cache = dag.cacheVolume("pipeline-" + process.env.PIPELINE_RUN)
  const source = dag.directory().withNewFile("a.txt", "one\n").withNewFile("sub/b.txt", "two\n")
  const base = dag
    .container()
    .from("busybox:latest")
    .withMountedDirectory("/src", source)
    .withMountedCache("/cache", cache)
    .withMountedSecret("/run/token", secret)
    .withSecretVariable("TOKEN", secret)
    .withEnvVariable("COLOUR", "green")
    .withNewFile("/etc/note", "noted")
    .withWorkdir("/src")
  const ran = base.withExec([
    "sh", "-c",
    "cat a.txt sub/b.txt /etc/note; echo; echo $COLOUR; cat /run/token | wc -c; echo to-stderr >&2; echo kept > /cache/f",
  ])
  seen.stdout = await ran.stdout()
  seen.stderr = await ran.stderr()
  seen.scrubbed = await base.withExec(["sh", "-c", "echo $TOKEN; cat /run/token"]).stdout()
  seen.cache = await base.withEnvVariable("AGAIN", "1").withExec(["cat", "/cache/f"]).stdout()
  seen.entries = await source.entries()
  seen.sub = await source.directory("sub").file("b.txt").contents()
  seen.size = await source.file("a.txt").size()
  const names = []
  for (const variable of await base.envVariables()) names.push(await variable.name())
  seen.env = names.sort()
  seen.env_value = await base.envVariable("COLOUR")
  const synced = await ran.sync()
  seen.synced = (await synced.stdout()) === seen.stdout
  seen.loaded = (await dag.loadContainerFromID(await ran.id()).stdout()) === seen.stdout
  seen.loaded_entries = await dag.loadDirectoryFromID(await source.id()).entries()
  seen.host = await dag.host().directory(hostFolder).file("host.txt").contents()
  const out = join(hostFolder, "out")
  await dag.container().from("busybox").withExec(["sh", "-c", "mkdir /o && echo hi > /o/x"]).directory("/o").export(out)
  seen.exported = readFileSync(join(out, "x"), "utf8")
  try {
    await base.withExec(["sh", "-c", "echo some; echo bad >&2; exit 42"]).stdout()
  } catch (error) {
    if (!(error instanceof ExecError)) throw error
    seen.error = { exit: error.exitCode, stdout: error.stdout, stderr: error.stderr, command: error.cmd }
  }
  try {
    await dag.container().from("busybox").file("/nothing/here").contents()
  } catch (error) {
    seen.missing = error.message
  }
  return seen
}

let seen
await connection(async () => {
  seen = await pipeline(process.argv[2])
}, { LogOutput: process.stderr })
console.log(JSON.stringify(seen))
