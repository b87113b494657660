"""Providers of secrets: addresses that are read on the client's machine."""

import json
import os

import pytest

from kit import Rondel, eventually, set_secret, write_program
from kit.nested import run_nested
from kit.web import Server, give


def read_secret(session, uri: str, select: str = "plaintext", **args) -> dict:
    given = "".join(f", {name}: {json.dumps(value)}" for name, value in args.items())
    return session.query("{ secret(uri: %s%s) { %s } }" % (json.dumps(uri), given, select))["secret"]


def plaintext(session, uri: str) -> str:
    return read_secret(session, uri)["plaintext"]


def secret_failure(session, uri: str) -> str:
    return session.error("{ secret(uri: %s) { plaintext } }" % json.dumps(uri))["message"]


def test_sec_006_secrets_come_from_variables_files_and_commands(engine, folder):
    (folder / "token").write_text("of a file")
    (engine.home / "at-home").write_text("of the home")
    env = {"TOP_SECRET_NAME": "of a variable"}
    with engine.session(env=env, cwd=folder) as session:
        assert plaintext(session, "env://TOP_SECRET_NAME") == "of a variable"
        assert plaintext(session, f"file://{folder}/token") == "of a file"
        assert plaintext(session, "file://token") == "of a file"
        assert plaintext(session, "file://~/at-home") == "of the home"
        assert plaintext(session, "cmd://echo -n 'of a command'") == "of a command"
        for uri, words in [
            ("env://TOP_SECRET_MISSING", 'secret env var not found: "TOP..."'),
            ("env://ABC", 'secret env var not found: "ABC"'),
            ("file:///no/such/file", "no such file or directory"),
            ("cmd://exit 3", "failed to run secret command"),
            ("wtf://x", 'unsupported secret provider: "wtf"'),
            ("not an address", "malformed id"),
            ("libsecret://login/x", "`libsecret` is not supported"),
            ("gcp://projects/x", "`gcp` is not supported"),
        ]:
            assert words in secret_failure(session, uri), uri


def test_sec_008_the_cache_key_is_no_part_of_the_address(engine):
    with engine.session(env={"X": "value"}) as session:
        assert read_secret(session, "cmd://echo -n a?b=c&cacheKey=k&d=e", "uri")["uri"] == "cmd://echo -n a?b=c&d=e"
        assert read_secret(session, "env://X?cacheKey=k", "uri plaintext") == {"uri": "env://X", "plaintext": "value"}


def test_naming_a_secret_does_not_read_it(engine, folder):
    with engine.session(cwd=folder) as session:
        read = folder / "read"
        for query in ["", "?cacheKey=k"]:
            uri = f"cmd://touch {read}; echo -n x{query}"
            assert read_secret(session, uri, "uri name") == {"uri": uri.removesuffix(query), "name": ""}
            assert read_secret(session, uri, "uri", cacheKey="other") == {"uri": uri.removesuffix(query)}
            assert not read.exists()
        assert read_secret(session, f"cmd://touch {read}; echo -n x")["plaintext"] == "x" and read.exists()
        for provider in ["env://MISSING_V", "file:///no/such/file", "cmd://exit 3", "op://v/i/f", "vault://p.f", "aws+sm://n", "aws+ps://n", "libsecret://l", "gcp://p"]:
            assert read_secret(session, provider + "?cacheKey=k", "uri") == {"uri": provider}
            assert read_secret(session, provider, "uri") == {"uri": provider}
        for wrong in ["wtf://x", "not an address"]:
            assert session.error("{ secret(uri: %s) { uri } }" % json.dumps(wrong))["message"]


def test_a_secret_that_cannot_be_read_fails_where_it_is_needed(engine):
    with engine.session() as session:
        for query in ["", "?cacheKey=unreadable"]:
            given = json.dumps(read_secret(session, "env://TOP_SECRET_MISSING" + query, "id")["id"])
            words = 'secret env var not found: "TOP..."'
            assert words in session.error("{ loadSecretFromID(id: %s) { plaintext } }" % given)["message"]
            made = '{ container { from(address: "busybox") { withSecretVariable(name: "T", secret: %s) { %s } } } }'
            assert session.query(made % (given, 'envVariable(name: "T")'))
            assert words in session.error(made % (given, 'withExec(args: ["true"]) { stdout }'))["message"]


def test_a_secret_of_another_session_is_not_bound(engine):
    with engine.session() as session:
        given = json.dumps(session.query('{ setSecret(name: "mine", plaintext: "p") { id } }')["setSecret"]["id"])
        assert session.query("{ loadSecretFromID(id: %s) { plaintext } }" % given)["loadSecretFromID"]["plaintext"] == "p"
    with engine.session() as session:
        assert "no bound resource for session" in session.error("{ loadSecretFromID(id: %s) { plaintext } }" % given)["message"]


RUN = """{ container { from(address: "busybox") { withSecretVariable(name: "T", secret: "%s") {
    withExec(args: ["sh", "-c", "echo %s; head -c 8 /dev/urandom | od -An -tx1"]) { stdout } } } } }"""


def test_xs_006_sec_008_a_secret_is_keyed_by_its_value_or_cache_key(engine, folder):
    """The value is the key by default. A `cacheKey` replaces it for every provider."""

    def run(uri: str, salt: str, **env) -> str:
        with engine.session(env=env, cwd=folder) as session:
            given = read_secret(session, uri, "id")["id"]
            answer = session.query(RUN % (given, salt))["container"]["from"]["withSecretVariable"]
            return answer["withExec"]["stdout"]

    (folder / "token").write_text("value")
    for uri in ["env://X", "file://token", "cmd://echo -n $X"]:
        (folder / "token").write_text("value")
        first = run(uri, "plain", X="value")
        assert run(uri, "plain", X="value") == first
        (folder / "token").write_text("other")
        assert run(uri, "plain", X="other") != first
        first = run(uri + "?cacheKey=k", "keyed", X="value")
        assert run(uri + "?cacheKey=k", "keyed", X="changed") == first
        assert run(uri + "?cacheKey=l", "keyed", X="value") != first
    # Secrets with one cache key are the same, whatever their addresses.
    assert run("env://X?cacheKey=k", "keyed", X="1") == run("cmd://echo -n 2?cacheKey=k", "keyed")


def test_xs_006_secrets_with_one_key_keep_their_own_text(engine):
    with engine.session(env={"A": "text of a", "B": "text of b"}) as session:
        given = {name: read_secret(session, f"env://{name}?cacheKey=same", "id")["id"] for name in "AB"}
        for name in "AB":
            assert session.query('{ node(id: "%s") { ... on Secret { plaintext } } }' % given[name])["node"] == {
                "plaintext": f"text of {name.lower()}"
            }


def test_sec_009_secrets_come_from_1password(engine, folder):
    write_program(
        folder,
        "op",
        f"""printf '%s\\n' "$@" >> {folder}/asked
test "$1" = read && test "$2" = -n || exit 9
case "$3" in
    op://vault/missing/*) echo '[ERROR] "missing" is no item' >&2; exit 1;;
    *) printf '%s' "$(cat {folder}/value) of $3";;
esac
""",
    )
    (folder / "value").write_text("one")
    with engine.session(env={"PATH": f"{folder}:{os.environ['PATH']}"}) as session:
        uri = "op://vault/an item/field"
        for _ in range(3):
            assert plaintext(session, uri) == f"one of {uri}"
        assert plaintext(session, uri + "?ttl=90s") == f"one of {uri}"
        other = "op://vault/another item/field"
        assert plaintext(session, other + "?ttl=1s") == f"one of {other}"
        (folder / "value").write_text("two")
        assert plaintext(session, uri) == f"one of {uri}"
        assert plaintext(session, uri + "?ttl=90s") == f"one of {uri}"
        assert (folder / "asked").read_text().count(uri) == 2
        eventually(lambda: plaintext(session, other + "?ttl=1s") == f"two of {other}", what="the text to expire")
        assert plaintext(session, uri) == f"one of {uri}"
        said = secret_failure(session, "op://vault/missing/field")
        assert 'unable to lookup "op://vault/missing/field"' in said and "is no item" in said
        assert "invalid ttl" in secret_failure(session, "op://vault/item/field?ttl=soon")
    with engine.session(env={"PATH": f"{folder}:{os.environ['PATH']}"}) as session:
        assert plaintext(session, uri) == f"two of {uri}"
    with engine.session(env={"PATH": "/nonexistent"}) as session:
        assert "no program `op`" in secret_failure(session, uri)


@pytest.fixture
def vault():
    """A server that speaks Vault's protocol: `secret` is a key-value engine of version 2, `old` one
    of version 1.
    """
    data = {"testsecret": {"foo": "first", "number": 5}, "a/b c": {"f": "spaces"}}
    tokens = {"root-token"}

    def answer(handler):
        path = handler.path.removeprefix("/v1/").replace("%20", " ")
        if path == "auth/approle/login":
            asked = json.loads(handler.body)
            if asked != {"role_id": "role", "secret_id": "id-of-secret"}:
                return give(handler, 400, json.dumps({"errors": ["invalid role or secret ID"]}).encode())
            tokens.add("lent-token")
            return give(handler, 200, json.dumps({"auth": {"client_token": "lent-token"}}).encode())
        if handler.headers.get("X-Vault-Token") not in tokens:
            return give(handler, 403, json.dumps({"errors": ["permission denied"]}).encode())
        for mount, wrap in [("secret/data/", lambda d: {"data": {"data": d}}), ("old/", lambda d: {"data": d})]:
            if path.startswith(mount) and path.removeprefix(mount) in data:
                return give(handler, 200, json.dumps(wrap(data[path.removeprefix(mount)])).encode())
        return give(handler, 404, json.dumps({"errors": []}).encode())

    with Server({"*": answer}) as server:
        server.data = data
        yield server


def test_sec_010_secrets_come_from_vault(engine, vault):
    env = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": "root-token"}
    with engine.session(env=env) as session:
        assert plaintext(session, "vault://testsecret.foo") == "first"
        assert plaintext(session, "vault://testsecret.foo?ttl=1s") == "first"
        assert plaintext(session, "vault://a/b c.f") == "spaces"
        assert 'secret "bar" not found in path "testsecret"' in secret_failure(session, "vault://testsecret.bar")
        assert 'secret "number" in path "testsecret" is not a string' in secret_failure(session, "vault://testsecret.number")
        assert "secret not found" in secret_failure(session, "vault://nothing.foo")
        assert "invalid key format" in secret_failure(session, "vault://testsecret")
        vault.data["testsecret"]["foo"] = "second"
        assert plaintext(session, "vault://testsecret.foo") == "first"
        eventually(lambda: plaintext(session, "vault://testsecret.foo?ttl=1s") == "second", what="the text to expire")
    roles = {"VAULT_APPROLE_ROLE_ID": "role", "VAULT_APPROLE_SECRET_ID": "id-of-secret"}
    with engine.session(env={"VAULT_ADDR": vault.address, **roles}) as session:
        assert plaintext(session, "vault://testsecret.foo") == "second"
    with engine.session(env={**env, "VAULT_PATH_PREFIX": "old"}) as session:
        assert plaintext(session, "vault://testsecret.foo") == "second"
    for more, words in [
        ({"VAULT_TOKEN": "wrong-token"}, "permission denied"),
        ({"VAULT_TOKEN": ""}, "there is no token"),
        ({**roles, "VAULT_APPROLE_SECRET_ID": "wrong-id"}, "invalid role or secret ID"),
        ({"VAULT_ADDR": "http://127.0.0.1:1"}, "cannot read path"),
    ]:
        with engine.session(env={**env, **more}) as session:
            said = secret_failure(session, "vault://testsecret.foo")
            assert words in said and "wrong-" not in said, said


@pytest.fixture
def aws():
    """A server that speaks the JSON protocol of AWS for one secret and one parameter."""

    def answer(handler):
        asked, target = json.loads(handler.body), handler.headers["X-Amz-Target"]
        signed = handler.headers["Authorization"]
        assert signed.startswith("AWS4-HMAC-SHA256 Credential=AKID/") and "plain-key" not in signed
        refuse = lambda kind: give(handler, 400, json.dumps({"__type": f"com.amazonaws#{kind}"}).encode())  # noqa: E731
        if target == "secretsmanager.GetSecretValue":
            secrets = {"plain": "text", "json": json.dumps({"password": "hunter22", "port": 5432})}
            if asked["SecretId"] == "bytes":
                return give(handler, 200, json.dumps({"SecretBinary": "YWJj"}).encode())
            if asked["SecretId"] not in secrets:
                return refuse("ResourceNotFoundException")
            return give(handler, 200, json.dumps({"SecretString": secrets[asked["SecretId"]]}).encode())
        assert target == "AmazonSSM.GetParameter" and asked["WithDecryption"]
        if asked["Name"] != "/team/param":
            return refuse("ParameterNotFound")
        return give(handler, 200, json.dumps({"Parameter": {"Value": "of a parameter"}}).encode())

    with Server({"*": answer}) as server:
        yield server


def test_sec_013_secrets_come_from_aws(engine, aws):
    env = {
        "AWS_ENDPOINT_URL": aws.address,
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "AKID",
        "AWS_SECRET_ACCESS_KEY": "plain-key-5e1f",
        "AWS_SESSION_TOKEN": "lent",
    }
    with engine.session(env=env) as session:
        for _ in range(2):
            assert plaintext(session, "aws+sm://plain") == "text"
            assert plaintext(session, "aws+sm://json?field=password") == "hunter22"
            assert plaintext(session, "aws+sm://json?field=port") == "5432"
            assert plaintext(session, "aws+sm://bytes") == "abc"
            assert plaintext(session, "aws+ps://team/param") == "of a parameter"
        assert len(aws.requests) == 5
        assert aws.requests[0][2]["X-Amz-Security-Token"] == "lent"
        assert "/eu-central-1/secretsmanager/aws4_request" in aws.requests[0][2]["Authorization"]
        for uri, words in [
            ("aws+sm://missing", "secret not found"),
            ("aws+ps://missing", "parameter not found"),
            ("aws+sm://json?field=other", "not found in JSON secret"),
            ("aws+sm://plain?field=x", "not valid JSON"),
            ("aws+sm://plain?version=a&stage=b", "cannot specify both"),
        ]:
            assert words in secret_failure(session, uri), uri
    without = {name: value for name, value in env.items() if name != "AWS_REGION"}
    with engine.session(env={**without, "AWS_DEFAULT_REGION": ""}) as session:
        assert "AWS_REGION" in secret_failure(session, "aws+sm://plain")
        assert plaintext(session, "aws+sm://plain?region=us-east-1") == "text"
    keyless = {name: value for name, value in env.items() if not name.startswith("AWS_ACCESS")}
    with engine.session(env=keyless) as session:
        assert "there are no keys" in secret_failure(session, "aws+sm://plain")
        (engine.home / ".aws").mkdir(exist_ok=True)
        (engine.home / ".aws/credentials").write_text(
            "[default]\naws_access_key_id = AKID\naws_secret_access_key = plain-key-of-a-file\n"
        )
        assert plaintext(session, "aws+sm://plain") == "text"


ASK_FOR_SECRETS = """
for uri in ["env://INSIDE", "env://GIVEN", "env://OUTSIDE", "file:///inside", "file:///outside-only", "op://a/b/c"]:
    print(json.dumps(ask("{ secret(uri: %s) { plaintext } }" % json.dumps(uri))))
"""


def test_sec_007_secrets_of_a_nested_client_come_from_its_container(engine):
    """A process inside cannot read a variable of the host."""
    with engine.session(env={"OUTSIDE": "of the host"}) as session:
        given = set_secret(session, "given inside", "g")
        fields = [
            'withEnvVariable(name: "INSIDE", value: "a variable inside")',
            f'withSecretVariable(name: "GIVEN", secret: "{given}")',
            'withNewFile(path: "/inside", contents: "a file inside")',
        ]
        printed = run_nested(session.query, ASK_FOR_SECRETS, *fields)
    lines = [json.loads(line) for line in printed.splitlines()]
    values = [line["data"]["secret"]["plaintext"] if "errors" not in line else None for line in lines]
    # A secret of the process itself is redacted in its output.
    assert values == ["a variable inside", "***", None, "a file inside", None, None]
    assert "of the host" not in json.dumps(lines)


def test_call_006_flags_accept_short_addresses_of_secrets(fresh: Rondel, folder):
    """Address forms of the command line, without a module: through `address`."""
    (folder / "token").write_text("of a file")
    (fresh.home / "at-home").write_text("of the home")
    with fresh.session(env={"NAME": "of a variable"}, cwd=folder) as session:
        for text, want in [
            ("NAME", "of a variable"),
            ("env:NAME", "of a variable"),
            ("env://NAME", "of a variable"),
            ("file:token", "of a file"),
            ("file://token", "of a file"),
            ("file:~/at-home", "of the home"),
            ("cmd:echo -n output", "output"),
            ("cmd://echo -n output", "output"),
        ]:
            document = "{ address(value: %s) { secret { plaintext } } }" % json.dumps(text)
            assert session.query(document)["address"]["secret"]["plaintext"] == want, text
