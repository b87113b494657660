"""The engine's log for operators, and the figures that it shows to Prometheus."""

import json
import re
import signal
import socket
import urllib.request

import pytest

from kit import IMAGES, ask, document, eventually, free_port, mirror_of, quote, set_secret, sh, unique
from kit.registries import Registry

# A value that formats write in another way than it is: with quotes and a backslash.
SECRET = 'pass"word\\'


@pytest.fixture
def image(make_engine, folder):
    """The name of an image on a registry on loopback."""
    registry = Registry(folder)
    name = f"{registry.address}/team/app:1"
    publisher = make_engine(mirror_of(IMAGES, offline=False))
    new_file = f'withNewFile(path: "/inside", contents: {quote(unique())})'
    publisher.data(document("container", 'from(address: "busybox")', new_file, f"publish(address: {quote(name)})"))
    yield name
    registry.stop()


def fields_of(line: str) -> dict:
    """The fields of a human line: the level, the message, and `name=value`."""
    found = re.fullmatch(r"\S+Z +(\w+) [\w:]+: (.*)", line)
    assert found, line
    values = r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)'
    fields = dict(re.findall(values, found[2]))
    fields = {name: value[1:-1] if value.startswith('"') else value for name, value in fields.items()}
    return fields | {"level": found[1], "message": re.sub(values, "", found[2]).strip()}


def lines_of(text: str, form: str) -> list[dict]:
    lines = [json.loads(line) if form == "json" else fields_of(line) for line in text.splitlines()]
    return [{name: str(value) for name, value in line.items()} for line in lines]


def one(lines: list[dict], message: str, **fields) -> dict:
    found = [
        line
        for line in lines
        if line["message"].startswith(message) and all(line.get(name) == value for name, value in fields.items())
    ]
    assert len(found) == 1, f"{message} {fields}: {len(found)} lines in {lines}"
    return found[0]


def refuse_client(rondel) -> str:
    """Attaches as a client that the engine refuses; its answer."""
    head = "GET /attach HTTP/1.1\r\nhost: engine\r\nconnection: upgrade\r\nupgrade: rondel-link\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(rondel.state / "engine.sock"))
        client.sendall(head.encode() + b'{"version": "", "workdir": "not/absolute"}\n')
        answer = b""
        while b"refusal" not in answer:
            piece = client.recv(4096)
            assert piece, answer
            answer += piece
    return answer.decode()


def figures_at(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        text = answer.read().decode()
    lines = text.splitlines()
    assert lines[-1] == "# EOF"
    described = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    figures = {}
    for line in lines:
        if line.startswith("#"):
            continue
        name, value = re.fullmatch(r"([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)", line).groups()
        family = re.sub(r"_(total|bucket|sum|count|info)$", "", name.split("{")[0])
        assert {family, name.split("{")[0]} & described, line
        assert name not in figures, line
        figures[name] = float(value)
    return figures


@pytest.mark.parametrize("form", ["human", "json"])
def test_the_log_of_a_session(make_engine, image, form):
    port = free_port()
    rondel = make_engine(f'offline = false\nmetrics = "127.0.0.1:{port}"\n')
    with rondel.session(env={"RONDEL_LOG_FORMAT": form}) as session:
        secret = set_secret(session, SECRET)
        with_secret = f'withSecretVariable(name: "S", secret: {quote(secret)})'
        base = ("container", f"from(address: {quote(image)})", with_secret)
        assert ask(session, *base, sh('test -n "$S" && echo works'), "stdout") == "works\n"
        session.error(document(*base, sh(f"echo '{SECRET}' >&2; exit 7"), "stdout"))
        assert ask(session, *base, sh('test -n "$S" && echo works'), "stdout") == "works\n"
        assert "not absolute" in refuse_client(rondel)
        session.error("{ notAField }")
        figures = figures_at(port)
    rondel.settle()
    rondel.run("cache", "prune").ok()
    pruned = figures_at(port)
    rondel.stop()
    eventually(lambda: "engine stopped" in rondel.log(), what="the last line of the log")
    text = rondel.log()
    assert SECRET not in text and quote(SECRET)[1:-1] not in text, text
    lines = lines_of(text, form)

    started = one(lines, "engine started")
    assert started["level"] == "INFO" and started["state_dir"] == str(rondel.state) and started["version"], started
    assert started["rootless"] in ("true", "false", "True", "False")
    attached = one(lines, "client attached", view=started["api_version"])
    session_id, client = attached["session"], attached["client"]
    pull = one(lines, "pull finished", session=session_id, client=client)
    assert image in pull["title"] and int(pull["bytes"]) > 0 and pull["call"], pull
    works = one(lines, "exec finished", exit_code="0", client=client)
    assert works["exec"] and works["call"] and int(works["duration_ms"]) >= 0 and works["session"] == session_id, works
    failed = one(lines, "exec failed", exit_code="7", client=client)
    assert "***" in failed["title"] and failed["level"] == "INFO" and failed["exec"] != works["exec"], failed
    assert "not absolute" in one(lines, "client refused", level="WARN")["reason"]
    one(lines, "client detached", client=client)
    prune = one(lines, "cache pruned", reason="request")
    assert int(prune["records"]) > 0 and int(prune["bytes"]) > 0 and int(prune["layers"]) > 0, prune
    one(lines, "engine is stopping", reason="request")
    one(lines, "engine stopped")

    assert figures["rondel_sessions"] == 1 and figures["rondel_clients"] == 1
    assert figures["rondel_execs_running"] == 0
    assert figures["rondel_execs_total"] == figures["rondel_exec_duration_seconds_count"] == 2
    assert figures['rondel_cache_misses_total{kind="exec"}'] == 2
    assert figures['rondel_cache_hits_total{kind="call"}'] > 0
    assert figures["rondel_pull_bytes_total"] >= int(pull["bytes"])
    assert figures['rondel_cache_bytes{kind="layer"}'] > 0
    assert figures["rondel_clients_refused_total"] == 1
    assert figures['rondel_errors_total{code="INVALID_REQUEST"}'] == 1
    assert sum(value for name, value in figures.items() if name.startswith("rondel_errors_total")) == 2
    assert pruned['rondel_prunes_total{reason="request"}'] == 1
    assert pruned["rondel_pruned_bytes_total"] == int(prune["bytes"])


def test_an_engine_in_the_foreground_logs_to_both(make_engine):
    rondel = make_engine()
    serving = rondel.start("engine", "serve", "--announce", env={"RONDEL_LOG_FORMAT": "json"})
    assert serving.stdout.readline() == "ready\n"
    assert rondel.data("{ version }")
    rondel.settle()
    serving.send_signal(signal.SIGTERM)
    _, errors = serving.communicate(timeout=60)
    assert errors == rondel.log()
    lines = lines_of(errors, "json")
    one(lines, "engine is stopping", reason="SIGTERM")
    assert one(lines, "engine stopped") == lines[-1]


def test_a_standard_error_that_is_not_read_stops_nothing(make_engine):
    rondel = make_engine()
    serving = rondel.start("engine", "serve", "--announce")
    assert serving.stdout.readline() == "ready\n"
    # More lines than a pipe holds.
    for _ in range(1_000):
        refuse_client(rondel)
    assert len(rondel.log()) > 100_000
    assert rondel.data("{ version }")
    rondel.stop()
    assert serving.wait(timeout=30) == 0
    serving.stdout.close()
    serving.stderr.close()


def test_a_cached_result_makes_no_line(make_engine):
    rondel = make_engine()
    run = document("container", 'from(address: "busybox")', sh("echo once"), "stdout")
    rondel.data(run)
    rondel.data(run)
    rondel.settle()
    messages = [line["message"].split(" in ")[0] for line in lines_of(rondel.log(), "human")]
    assert messages.count("exec finished") == 1
    assert messages.count("client attached") == messages.count("client detached") == 2


@pytest.mark.parametrize(
    ("variable", "value", "word"), [("RONDEL_LOG_FORMAT", "xml", "`xml` is no log format"), ("RONDEL_LOG", "a=b=c", "RONDEL_LOG")]
)
def test_a_wrong_setting_is_an_error(make_engine, variable, value, word):
    rondel = make_engine()
    rondel.run("engine", "serve", env={variable: value}).failed(word)
    rondel.query("{ version }", env={variable: value}).failed(word)
