"""The plaintext of a secret is only in the process that got the secret."""

import hashlib
import json
import os
import time

from kit import Rondel, ask, container, find_field, peak_memory, set_secret

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
    """Uses the secret in every way, and returns all output."""
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


def test_the_plaintext_of_a_secret_is_nowhere(fresh):
    said = use(fresh)
    assert any("***" in text for text in said)
    for text in said:
        # An ID must not contain the plaintext.
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


def test_an_error_about_a_secret_comes_at_once(engine):
    started = time.monotonic()
    engine.query('{ secret(uri: "env://NO_SUCH_VARIABLE") { plaintext } }').failed("env var not found")
    assert time.monotonic() - started < 10


def run(session, fields: list[str], args: list[str], more: str = "", select: str = "stdout") -> str:
    """The output of a process in a container that the fields changed."""
    return ask(session, *container(), *fields, f"withExec(args: {json.dumps(args)}{more})", select)


def test_sec_001_secrets_are_variables_of_a_process(engine):
    with engine.session() as session:
        one, two = set_secret(session, "one"), set_secret(session, "text two")
        given = 'withSecretVariable(name: "T", secret: "%s")'
        print_lengths = ["sh", "-c", "echo ${#T} ${#U}; env | grep -c ^T="]
        assert run(session, [given % one], print_lengths) == "3 0\n1\n"
        assert run(session, [given % one, given % two], print_lengths) == "8 0\n1\n"
        assert run(session, [given % one, 'withoutSecretVariable(name: "T")'], ["sh", "-c", "echo ${#T}"]) == "0\n"
        known = find_field(session.query('{ container { %s { envVariables { name } } } }' % (given % one)), "envVariables")
        assert known == []
        # The next container has the secret, too.
        after = [given % one, 'withExec(args: ["true"])']
        assert run(session, after, ["sh", "-c", "echo ${#T}"]) == "3\n"


def test_exec_007_standard_input_may_be_a_secret(engine):
    with engine.session() as session:
        fields = ['withMountedSecret(path: "/in", source: "%s")' % set_secret(session, "read from a secret\n")]
        assert run(session, fields, ["wc", "-c"], ', redirectStdin: "/in"') == "19\n"
        assert run(session, fields, ["cat"], ', redirectStdin: "/in"').strip() == "***"


def test_arg_011_a_secret_is_not_expanded(engine):
    with engine.session() as session:
        given = 'withSecretVariable(name: "T", secret: "%s")' % set_secret(session, "text")
        document = '{ container { from(address: "busybox") { %s { withExec(args: ["echo", "$T"], expand: true) { stdout } } } } }'
        message = session.error(document % given)["message"]
        assert 'expand cannot be used with secret env variable "T"' in message


def test_mnt_011_a_mounted_secret_has_mode_and_owner(engine):
    with engine.session() as session:
        given = 'withMountedSecret(path: "/t", source: "%s"%%s)' % set_secret(session, "text")
        show = ["stat", "-c", "%a %u:%g", "/t"]
        assert run(session, [given % ""], show) == "400 0:0\n"
        assert run(session, [given % ", mode: 438"], show) == "666 0:0\n"
        assert run(session, [given % ', mode: 292, owner: "12:34"'], show) == "444 12:34\n"
        assert run(session, [given % ', owner: "daemon"'], show) == "400 1:1\n"


def test_mnt_014_the_limit_is_exact_and_bytes_are_bytes(engine, folder):
    content = bytes(n * 7 % 256 for n in range(512_000))
    (folder / "most").write_bytes(content)
    (folder / "more").write_bytes(content + b"x")
    with engine.session(cwd=folder) as session:
        given = session.query('{ secret(uri: "file://most") { id } }')["secret"]["id"]
        fields = ['withMountedSecret(path: "/t", source: "%s")' % given]
        assert run(session, fields, ["sha256sum", "/t"]).split()[0] == hashlib.sha256(content).hexdigest()
        assert run(session, fields, ["cat", "/t"]) == "***"
        assert run(session, fields, ["sh", "-c", "echo before; cat /t; echo after"]) == "before\n***after\n"
        assert "512001 bytes" in session.error('{ secret(uri: "file://more") { plaintext } }')["message"]
        assert "no UTF-8" in session.error('{ secret(uri: "file://most") { plaintext } }')["message"]
        variable = 'withSecretVariable(name: "T", secret: "%s")' % given
        document = '{ container { from(address: "busybox") { %s { withExec(args: ["true"]) { stdout } } } } }'
        assert "no UTF-8" in session.error(document % variable)["message"]


def test_secret_files_are_no_larger_than_secrets_in_memory(engine, folder):
    with open(folder / "sparse", "wb") as sparse:
        sparse.truncate(3 << 30)
    os.mkfifo(folder / "fifo")
    most = lambda: peak_memory(engine.status()["pid"]) >> 20
    with engine.session(cwd=folder) as session:
        before = most()
        error = session.error('{ secret(uri: "file://./sparse") { plaintext } }')["message"]
        assert "secret is too large" in error and str(3 << 30) in error
        assert most() - before < 200
        assert "cannot read secret file" in session.error('{ secret(uri: "file://./fifo") { plaintext } }')["message"]
        taken = session.query('{ secret(uri: "file:///proc/self/mounts") { id } }')
        assert taken["secret"]["id"]


def test_output_is_redacted_in_every_way_of_writing(engine):
    key = "-----BEGIN KEY-----\nfirst line of it\nanother line of it\n-----END KEY-----\n"
    slow = "for c in p l a i n; do printf $c; sleep 0.02; done"
    cases = [
        (["plain"], slow, "***"),
        (["plain"], f"({slow}; sleep 1) >&2; printf PL; printf plai", "***PLplai"),
        (["  plain \n"], "printf plain; printf '[  plain \\n]'", "***[***]"),
        (["ab", "x"], "printf abx", "******"),
        (["42"], "printf pin=42", "pin=***"),
        (["alpha\nbravo\nfoo\n{\n"], "sed -n 3p /s0; echo '{'", "***\n{\n"),
        (["outer plain end", "plain"], "printf 'plain outer plain end outer plain'", "*** *** outer ***"),
        ([key], "cat /s0; printf 'said: another line of it.'", "***said: ***."),
        ([key], "head -n 2 /s0; tail -n 1 /s0", "***\n***\n***\n"),
        (["aab"], "printf aaab", "a***"),
        (["x" * 100_000], "cat /s0 /s0; printf xxx", "******xxx"),
    ]
    with engine.session() as session:
        for number, (texts, script, want) in enumerate(cases):
            fields = [f'withEnvVariable(name: "CASE", value: "{number}")']
            for index, text in enumerate(texts):
                fields.append(f'withMountedSecret(path: "/s{index}", source: "{set_secret(session, text)}")')
            assert run(session, fields, ["sh", "-c", script], select="combinedOutput") == want, (texts, script)


def test_every_sink_is_redacted(fresh):
    """Redirected files, errors, names of execs, progress and the engine's log."""
    text = "plain-77aa-of-a-sink"
    with fresh.session("--progress", "plain") as session:
        given = 'withSecretVariable(name: "T", secret: "%s")' % set_secret(session, text)
        to_file = ', redirectStdout: "/out", redirectStderr: "/err"'
        script = ["sh", "-c", "echo $T; echo $T >&2"]
        chain = f'container {{ from(address: "busybox") {{ {given} {{ withExec(args: {json.dumps(script)}{to_file}) {{'
        files = session.query("{ " + chain + ' out: file(path: "/out") { contents } err: file(path: "/err") { contents } } } } } }')
        assert json.dumps(files).count("***\\n") == 2 and text not in json.dumps(files)
        document = '{ container { from(address: "busybox") { %s { withExec(args: ["sh", "-c", %s]) { stdout } } } } }'
        error = session.error(document % (given, json.dumps(f"echo {text}; echo {text} >&2; exit 4")))
        assert text not in json.dumps(error)
        assert [error["extensions"][name].strip() for name in ["stdout", "stderr"]] == ["***", "***"]
        # A program that cannot be started is named in the error.
        error = session.error('{ container { from(address: "busybox") { %s { withExec(args: ["%s"]) { stdout } } } } }' % (given, text))
        assert text not in json.dumps(error)
        session.process.stdin.close()
        assert text not in session.process.stdout.read() + session.process.stderr.read()
    fresh.stop()
    assert text not in fresh.log()
