"""The identity, capabilities, limits and mounts of a process in a container."""

import json
import resource
from pathlib import Path

import pytest

from kit import IMAGES, leaf, mirror_of

BUNDLES = ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS"]


def output(engine, script: str, before: str = "", options: str = "", image: str = "busybox") -> str:
    """The output of a script in a container. `before` are fields before the exec."""
    fields = before.count("{") + 4
    document = '{ container { from(address: "%s") { %s withExec(args: %s%s) { stdout %s' % (
        image,
        before,
        json.dumps(["sh", "-c", script]),
        options,
        "}" * fields,
    )
    return leaf(engine.data(document))


def test_supplementary_groups_contain_the_primary_one(engine):
    groups = "grep Groups /proc/self/status | tr -s '\\t ' ' '"
    assert "0" in output(engine, groups).split()[1:]
    assert output(engine, groups, 'withUser(name: "1234:567") {').split()[1:] == ["567"]


@pytest.mark.parametrize("user", ["", "1234"])
def test_insecure_root_capabilities_are_in_every_set(engine, user):
    before = 'withUser(name: "%s") {' % user if user else ""
    sets = output(engine, "grep Cap /proc/self/status", before, ", insecureRootCapabilities: true").split()
    found = dict(zip(sets[::2], sets[1::2]))
    assert int(found["CapPrm:"], 16) > 0
    assert found["CapInh:"] == found["CapAmb:"] == found["CapEff:"] == found["CapPrm:"]


def test_sockets_of_the_kernels_cryptography_are_refused(engine):
    code = "import socket\nfor f in (38, 40):\n  try: socket.socket(f, 5)\n  except OSError as e: print(f, e.errno)"
    script = f"python3 -c {json.dumps(code)!s}".replace("\\n", "\n")
    assert output(engine, script, image="python:3.13-slim") == "38 1\n40 1\n"


def test_open_files_are_limited_as_for_the_engines_parent(fresh):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
    try:
        assert output(fresh, "ulimit -Sn; ulimit -Hn") == f"500\n{hard}\n"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    limits = Path(f"/proc/{fresh.status()['pid']}/limits").read_text().splitlines()
    (files,) = [line.split() for line in limits if line.startswith("Max open files")]
    assert files[3] == files[4] == str(hard), "the engine may open as many as the machine permits"


def test_containers_are_killed_before_the_engine(engine):
    own = int(Path(f"/proc/{engine.status()['pid']}/oom_score_adj").read_text())
    for options in ("", ", noInit: true"):
        scores = output(engine, "cat /proc/1/oom_score_adj /proc/self/oom_score_adj", options=options).split()
        assert set(map(int, scores)) == {min(own + 500, 1000)}


def test_the_status_says_whether_containers_are_limited(engine):
    engine.data("{ version }")
    lacking = [note for note in engine.status()["notes"] if note.startswith("containers have no limit of")]
    enforced = output(engine, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max 2>/dev/null; true").split()
    assert lacking or (len(enforced) == 2 and all(limit.isdigit() for limit in enforced)), engine.status()["notes"]


def test_memory_is_limited_as_configured(make_engine):
    engine = make_engine(mirror_of(IMAGES) + '\n[limits]\nmemory = "256MB"\n')
    assert output(engine, "dd if=/dev/zero of=/dev/null bs=1M count=1 2>/dev/null && echo fits") == "fits\n"
    document = '{ container { from(address: "busybox") { withExec(args: ["dd", "if=/dev/zero", "of=/dev/null", "bs=1000M", "count=1"]) { stdout } } } }'
    outcome = engine.query(document).failed("did not complete successfully")
    assert "out of memory" in outcome.err, outcome.err


def test_wrong_limits_are_refused(make_engine):
    make_engine("[limits]\ncpu-weight = 0\n").run("engine", "serve").failed("weight", "10000")


def test_mounts_do_not_name_the_state_directory(engine):
    directory = engine.data('{ directory { withNewFile(path: "f", contents: "x") { id } } }')["directory"]["withNewFile"]["id"]
    mounted = "withMountedDirectory(path: \"/ro\", source: %s, readOnly: true) {" % json.dumps(directory)
    mounts = output(engine, "cat /ro/f /proc/self/mountinfo", mounted)
    assert " /ro " in mounts and str(engine.state) not in mounts, mounts


def test_trusted_certificates_leave_no_trace_in_the_root(engine):
    """Certificates that the host trusts are trusted, without files in `/` or in the result."""
    assert "rondel" not in output(engine, "ls -a /")
    variables = dict(line.split("=", 1) for line in output(engine, "env").splitlines())
    for name in set(BUNDLES) & set(variables):
        assert output(engine, f"head -c 11 ${name}") == "-----BEGIN ", name
    kept = '{ container { from(address: "busybox") { withExec(args: ["touch", "/etc/new"]) { rootfs { glob(pattern: "**/*rondel*") } } } } }'
    assert engine.data(kept)["container"]["from"]["withExec"]["rootfs"]["glob"] == []
