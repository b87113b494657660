"""The plaintext of a secret is nowhere but in the process that was given it."""

import json
import os
import time

from harness import Rondel

PLAINTEXT = "plain-7f3a-text-of-a-secret"


def files_with(folder, needle: bytes) -> list[str]:
    found = []
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            try:
                if os.path.isfile(path) and not os.path.islink(path) and needle in open(path, "rb").read():
                    found.append(path)
            except OSError:
                continue
    return found


def use(rondel: Rondel) -> list[str]:
    """Uses the secret in every way there is; gives everything that came back."""
    said = []
    with rondel.session("--progress", "plain", env={"MY_SECRET": PLAINTEXT}) as session:
        for make in [
            "setSecret(name: \"s\", plaintext: %s) { id }" % json.dumps(PLAINTEXT),
            'secret(uri: "env://MY_SECRET") { id }',
            'secret(uri: "cmd://echo -n $MY_SECRET") { id }',
        ]:
            answer = session.query("{ " + make + " }")
            (name,) = next(iter(answer.values())).values()
            said.append(name)
            given = json.dumps(name)
            secret = f'withSecretVariable(name: "T", secret: {given}) {{ withMountedSecret(path: "/t", source: {given}) {{ '
            script = "test \\\"$T\\\" = \\\"$(cat /t)\\\" && echo $T $T; cat /t >&2; echo -n x$T; exit %d"
            run = "{ container { from(address: \"busybox\") { " + secret + 'withExec(args: ["sh", "-c", "%s"]) { stdout stderr combinedOutput id } } } } } }'
            for code in [0, 5]:
                said.append(json.dumps(session.post({"query": run % (script % code)})))
        said.append(json.dumps(session.post({"query": '{ secret(uri: "env://MISSING_%s") { plaintext } }' % "X"})))
        session.process.stdin.close()
        said.append(session.process.stdout.read())
        said.append(session.process.stderr.read())
        session.process.wait()
    return said


def test_a_secret_is_nowhere(fresh):
    said = use(fresh)
    assert any("***" in text for text in said)
    for text in said:
        # What is given as an ID may be opaque, but must not be a wrapping of the plaintext.
        assert PLAINTEXT not in text, text[:2000]
    fresh.stop()
    assert files_with(fresh.state, PLAINTEXT.encode()) == []
    assert PLAINTEXT not in fresh.log()


def test_a_secret_does_not_enter_layers(fresh):
    with fresh.session() as session:
        made = session.query("{ setSecret(name: \"s\", plaintext: %s) { id } }" % json.dumps(PLAINTEXT))
        given = json.dumps(made["setSecret"]["id"])
        document = (
            '{ container { from(address: "busybox") { withMountedSecret(path: "/t", source: %s) '
            '{ withExec(args: ["sh", "-c", "ls -l /t; touch /done"]) { withoutMount(path: "/t") { exists(path: "/t") rootfs { entries } } } } } } }'
        )
        session.query(document % given)
    assert files_with(fresh.state, PLAINTEXT.encode()) == []


def test_the_key_depends_on_the_value_and_not_on_the_name_alone(fresh):
    def run(value: str) -> str:
        with fresh.session() as session:
            made = session.query("{ setSecret(name: \"same\", plaintext: %s) { id } }" % json.dumps(value))
            given = json.dumps(made["setSecret"]["id"])
            answer = session.query(
                '{ container { from(address: "busybox") { withSecretVariable(name: "T", secret: %s) '
                '{ withExec(args: ["sh", "-c", "echo -n $T | wc -c"]) { stdout } } } } }' % given
            )
            return answer["container"]["from"]["withSecretVariable"]["withExec"]["stdout"].strip()

    assert run("a" * 20) == "20"
    assert run("b" * 30) == "30"


def test_an_error_about_a_secret_does_not_wait(engine):
    started = time.monotonic()
    engine.query('{ secret(uri: "env://NO_SUCH_VARIABLE") { plaintext } }').failed("env var not found")
    assert time.monotonic() - started < 10
