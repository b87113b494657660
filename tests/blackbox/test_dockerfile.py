"""Dockerfiles: images that builds give, errors, and steps that are cached."""

import hashlib
import io
import socket
import tarfile

import pytest

from kit import IMAGES, ask, document, find_field, leaf, nest, quote, set_secret, sh
from kit.dockerfiles import CORPUS, EXPECTED, Bases, Case, configuration, read_tarball
from kit.git_server import Sample, daemon
from kit.golden import check_golden
from kit.streams import start_service
from kit.web import Server, give

# Built in every run and compared with the recorded images. `scripts/dockerfiles` builds the whole
# corpus.
SAMPLE = [
    "add-archives",
    "args-shadow",
    "copy-destinations",
    "copy-exclude",
    "copy-heredoc",
    "copy-modes",
    "copy-ownership",
    "copy-parents",
    "copy-symlinks",
    "distroless-like",
    "env-forms",
    "everything-in-the-configuration",
    "expansion-patterns",
    "ignore-all-but",
    "ignore-basics",
    "monorepo",
    "odd-formatting",
    "onbuild",
    "run-bind",
    "run-cache",
    "run-heredoc",
    "run-secret",
    "special-files",
    "stage-on-stage",
    "unneeded-stages",
    "workdir-owned",
]


def context(files: dict) -> str:
    """A directory as a chain of fields, open at its end."""
    fields = [f"withNewFile(path: {quote(path)}, contents: {quote(content)})" for path, content in files.items()]
    return "directory { " + " { ".join(fields)


def closing(files: dict) -> str:
    return " }" * len(files)


def build_document(dockerfile: str, selection: str, files: dict | None = None, args: str = "") -> str:
    files = {"Dockerfile": dockerfile, **(files or {})}
    call = f"dockerBuild({args})" if args else "dockerBuild"
    return "{ " + context(files) + f" {{ {call} {{ {selection} }} }}" + closing(files) + "}"


def build(session, dockerfile: str, selection: str, files: dict | None = None, args: str = ""):
    """Builds a Dockerfile, and returns the selection of the container."""
    return find_field(session.query(build_document(dockerfile, selection, files, args)), "dockerBuild")


def refused(session, dockerfile: str, *words: str, files: dict | None = None, args: str = "") -> str:
    message = session.error(build_document(dockerfile, "sync", files, args))["message"]
    for word in words:
        assert word in message, message
    return message


def read(session, dockerfile: str, path: str, files: dict | None = None, args: str = "") -> str:
    return build(session, dockerfile, f"file(path: {quote(path)}) {{ contents }}", files, args)["file"]["contents"]


def printed_by(script: str) -> str:
    """The selection of the output of a script."""
    return nest(sh(script), "stdout")


@pytest.fixture(scope="module")
def bases():
    return Bases(IMAGES)


@pytest.fixture(scope="module")
def samples(session, tmp_path_factory):
    """The sample, built."""
    folder = tmp_path_factory.mktemp("corpus")
    folder.chmod(0o755)
    images = {}
    for name in SAMPLE:
        case = Case(CORPUS / name)
        path = folder / f"{name}.tar"
        case.build(session, case.stage(folder), f"export(path: {quote(str(path))})")
        images[name] = read_tarball(path)
        path.unlink()
    return images


@pytest.mark.parametrize("name", SAMPLE)
def test_an_image_of_the_corpus_is_as_recorded(name, samples, bases):
    check_golden(CORPUS / name / EXPECTED, "\n".join(bases.added(samples[name])) + "\n")


def test_dkr_001_the_dockerfile_is_found_by_default_by_name_and_below_a_selected_directory(session):
    files = {
        "sub/Dockerfile": "FROM busybox\nCOPY f /f\n",
        "sub/f": "below\n",
        "f": "above\n",
        "sub/dir/Dockerfile.whee": "FROM busybox\nCOPY f /f\nENV W=1\n",
    }
    contents = "file(path: \"/f\") { contents }"
    start = context({"Dockerfile": "FROM busybox\nCOPY f /f\n", **files})
    end = closing({"Dockerfile": "", **files})
    named = session.query(f'{{ {start} {{ dockerBuild(dockerfile: "sub/dir/Dockerfile.whee") {{ {contents} }} }}{end} }}')
    assert leaf(named) == "above\n"
    default = session.query(f"{{ {start} {{ dockerBuild {{ {contents} }} }}{end} }}")
    assert leaf(default) == "above\n"
    below = f'directory(path: "sub") {{ a: dockerBuild {{ {contents} }} b: dockerBuild(dockerfile: "dir/Dockerfile.whee") {{ {contents} }} }}'
    both = leaf(session.query(f"{{ {start} {{ {below} }}{end} }}"))
    assert [both[name]["file"]["contents"] for name in ("a", "b")] == ["below\n", "below\n"]
    assert "no such file or directory" in refused(session, "FROM busybox", args='dockerfile: "other"')


def test_variables_are_expanded_in_options_of_mounts(session):
    dockerfile = """FROM busybox AS base
ARG U=7
ENV M=0711 P=c YES=true KIND=cache HOW=locked NAME=TOKEN
RUN --mount=type=$KIND,id=options-$P,target=/$P,uid=$U,gid=${G:-33},mode=$M,sharing=$HOW stat -c '%u:%g %a' /c > /cache
RUN --mount=type=tmpfs,target=/t,size=${U}m df -k /t | tail -1 | awk '{print $2}' > /size
RUN --mount=type=secret,id=my-$S,env=$NAME,required=$YES test "$TOKEN" = plain && echo ok > /secret
RUN --mount=type=bind,source=$F,target=/f,readonly=$YES cat /f > /bound
"""
    dockerfile = dockerfile.replace("ENV M", "ENV S=secret F=file M")
    given = set_secret(session, "plain", "my-secret")
    script = printed_by("cat /cache /size /secret /bound")
    got = build(session, dockerfile, script, {"file": "bound\n"}, f"secrets: [{quote(given)}]")
    assert got["withExec"]["stdout"] == "7:33 711\n7168\nok\nbound\n"
    for option, words in [
        ("type=$NONE,target=/x", "`` is no value for `type`"),
        ("type=cache,target=/x,uid=$P", "`c` is no value for `uid`"),
        ("type=cache,target=/x,sharing=$P", "`c` is no value for `sharing`"),
        ("target=/x,from=$P", "variables are not expanded in `from`"),
    ]:
        refused(session, f"FROM busybox\nENV P=c\nRUN --mount={option} true", words)


def test_a_matched_symlink_without_a_target_is_an_error(session):
    # The symlinks come from a stage, or from a context that is a directory of the API.
    stage = "FROM busybox AS links\nRUN mkdir /d && cd /d && echo 1 > file && ln -s file good && ln -s nowhere dangling && ln -s /out/of/it out && ln -s loop loop\nFROM busybox\n"
    for copy in ["COPY --from=links /d/dang* /to/", "COPY --from=links /d/o* /to/", "COPY --from=links --parents /d/./dang* /to/", "COPY --from=links /d/dangling /to/"]:
        refused(session, stage + copy, "cannot copy: ", "lstat /", ": no such file or directory")
    refused(session, stage + "COPY --from=links /d/lo* /to/", "d/loop")
    listed = build(session, stage + "COPY --from=links /d /to\nCOPY --from=links --exclude=dangling /d/[df]* /picked/\nCOPY --from=links /d/g* /followed/", printed_by("ls /to /picked; cat /followed/good"))
    assert listed["withExec"]["stdout"] == "/picked:\nfile\n\n/to:\ndangling\nfile\ngood\nloop\nout\n1\n"


def test_an_ignored_target_of_a_symlink_does_not_exist(session):
    link = 'withSymlink(target: "%s", linkName: "%s")'

    def built(ignore: str, copy: str, selection: str) -> str:
        fields = [
            f"withNewFile(path: \"Dockerfile\", contents: {quote('FROM busybox' + chr(10) + copy)})",
            f"withNewFile(path: \".dockerignore\", contents: {quote(ignore)})",
            'withNewFile(path: "ctx/a", contents: "a")',
            link % ("a", "ctx/link"),
            link % ("nowhere", "ctx/dangling"),
        ]
        return document("directory", *fields, "dockerBuild", selection)

    def listed(ignore: str, copy: str) -> str:
        return leaf(session.query(built(ignore, copy, printed_by("ls /to"))))

    # A symlink whose target is ignored dangles, as one without a target does.
    for copy in ["COPY ctx/l* /to/", "ADD ctx/l* /to/"]:
        assert "lstat /ctx/a: no such file or directory" in session.error(built("ctx/a", copy, "sync"))["message"]
    assert "lstat /ctx/nowhere" in session.error(built("", "COPY ctx/* /to/", "sync"))["message"]
    # An ignored symlink does not exist, whatever its target.
    assert listed("ctx/dangling", "COPY ctx/* /to/") == "a\nlink\n"
    assert listed("ctx/dangling\nctx/link", "COPY ctx/* /to/") == "a\n"
    assert "\"/ctx/link\": not found" in session.error(built("ctx/link", "COPY ctx/link /to/", "sync"))["message"]


def test_dkr_003_the_configuration_becomes_that_of_the_container(session):
    dockerfile = """FROM busybox
WORKDIR /code
USER 1000
ENV A=b
LABEL l=m
EXPOSE 8090
ENTRYPOINT ["echo"]
CMD ["hello"]
"""
    fields = 'workdir user envVariable(name: "A") label(name: "l") exposedPorts { port protocol } entrypoint defaultArgs'
    got = build(session, dockerfile, fields + " withExec(args: [], useEntrypoint: true) { stdout }")
    assert got.pop("withExec")["stdout"] == "hello\n"
    assert got == {
        "workdir": "/code",
        "user": "1000",
        "envVariable": "b",
        "label": "m",
        "exposedPorts": [{"port": 8090, "protocol": "TCP"}],
        "entrypoint": ["echo"],
        "defaultArgs": ["hello"],
    }
    ran = build(session, "FROM busybox\nCMD echo from $0", "withExec(args: []) { stdout }")
    assert ran["withExec"]["stdout"] == "from /bin/sh\n"


def test_dkr_004_hc_003_an_exported_image_keeps_everything(session, tmp_path):
    dockerfile = """FROM busybox
HEALTHCHECK --interval=21s --timeout=4s --start-period=9s --start-interval=2s --retries=5 CMD ["test", "-e", "/"]
ONBUILD RUN true
SHELL ["/bin/ash", "-c"]
VOLUME /data
STOPSIGNAL SIGINT
"""
    path = tmp_path / "image.tar"
    build(session, dockerfile, f"export(path: {quote(str(path))})")
    config = configuration(read_tarball(path).config)
    second = 10**9
    assert config["Healthcheck"] == {
        "Test": ["CMD", "test", "-e", "/"],
        "Interval": 21 * second,
        "Timeout": 4 * second,
        "StartPeriod": 9 * second,
        "StartInterval": 2 * second,
        "Retries": 5,
    }
    assert config["OnBuild"] == ["RUN true"]
    assert config["Shell"] == ["/bin/ash", "-c"]
    assert config["Volumes"] == {"/data": {}}
    assert config["StopSignal"] == "SIGINT"


def test_dkr_004_a_health_check_is_read_from_a_build(session):
    check = "dockerHealthcheck { args shell interval timeout startPeriod startInterval retries }"
    got = build(session, "FROM busybox\nHEALTHCHECK --interval=1m30s --retries=2 CMD exit 0", check)["dockerHealthcheck"]
    assert got["args"] == ["exit 0"] and got["shell"] is True
    assert (got["interval"], got["timeout"], got["retries"]) == ("1m30s", "0s", 2)


def test_dkr_006_copies_follow_wildcards_variables_and_destinations(session):
    files = {"d/x": "x", "d/y/z": "z", "wild/a.txt": "a", "wild/b.txt": "b", "wild/c.md": "c"}
    dockerfile = """FROM busybox
ARG SRC=d
WORKDIR /w
COPY ./d/ /d
COPY wild/*.txt /txt/
COPY ${SRC}/x relative
COPY wild/a.txt .
COPY wild/b.txt ./
COPY d /w/.
"""
    listing = printed_by("cd /; find d txt w -type f | sort | tr '\\n' ' '")
    got = build(session, dockerfile, listing, files)["withExec"]["stdout"]
    assert got == "d/x d/y/z txt/a.txt txt/b.txt w/a.txt w/b.txt w/relative w/x w/y/z "
    other = read(session, dockerfile, "/w/relative", {**files, "wild/x": "w"}, 'buildArgs: [{name: "SRC", value: "wild"}]')
    assert other == "w"
    refused(session, "FROM busybox\nCOPY a b /c", "line 2, `COPY`", "the destination must be a directory", files=files)
    refused(session, "FROM busybox\nCOPY missing /c", '"/missing": not found', files=files)


def test_dkr_007_copies_follow_symlinks(session):
    dockerfile = """FROM busybox AS one
RUN mkdir -p /real/sub /svc/a /svc/b && echo s > /real/sub/f && ln -s /real /link && echo 1 > /svc/a/1.conf && echo 2 > /svc/b/2.conf && echo no > /svc/b/x
FROM busybox
COPY --from=one /link/sub /out
COPY --from=one /link/sub/f /f
COPY --from=one /svc/*/*.conf /etc/svc/
COPY --from=one /real / 
COPY --from=one / /usr/local/
COPY dirlink/in /ctx
"""
    start = 'directory { withNewFile(path: "real/in", contents: "in") { withSymlink(target: "real", linkName: "dirlink") { withNewFile(path: "Dockerfile", contents: %s) { dockerBuild { %s } } } } }'
    listing = printed_by("cat /out/f /f /sub/f /usr/local/real/sub/f /ctx; ls /etc/svc | tr '\\n' ' '")
    got = leaf(session.query("{" + start % (quote(dockerfile), listing) + "}"))
    assert got == "s\ns\ns\ns\nin1.conf 2.conf "


def test_dkr_008_copies_have_the_mode_and_owner_asked_for(session):
    dockerfile = """FROM busybox
RUN echo auser:x:4001:4002::/:/bin/sh >> /etc/passwd && echo agroup:x:4242: >> /etc/group
COPY --chmod=751 d /d
COPY --chmod=751 d/f /f
COPY --chown=:123 d/f /group
COPY --chown=auser:agroup d/f /named
COPY --chown=auser d /own
"""
    stat = printed_by("stat -c %a:%u:%g /d /d/f /d/s /d/s/g /f /group /named /own/s/g | tr '\\n' ' '")
    got = build(session, dockerfile, stat, {"d/f": "f", "d/s/g": "g"})["withExec"]["stdout"]
    assert got == "751:0:0 751:0:0 751:0:0 751:0:0 751:0:0 644:0:123 644:4001:4242 644:4001:4002 "
    refused(session, "FROM busybox\nCOPY --chmod=9 d/f /f", "line 2, `COPY`: `9` is no mode", files={"d/f": "f"})
    refused(session, "FROM busybox\nCOPY --chown=ghost d/f /f", "unable to find user ghost", files={"d/f": "f"})


def test_dkr_009_excluded_files_are_not_copied(session):
    dockerfile = "# syntax=docker/dockerfile:1.7-labs\nFROM busybox\nCOPY --exclude=no --exclude=Dockerfile . /all/\n"
    got = build(session, dockerfile, printed_by("ls /all | tr '\\n' ' '"), {"no": "n", "yes": "y"})["withExec"]["stdout"]
    assert got == "yes "
    refused(session, "# syntax=example.org/other:1\nFROM busybox", 'syntax frontend "example.org/other:1" is unsupported')


def tarball(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"in\n"))
    return out.getvalue()


def test_dkr_010_local_archives_are_unpacked(session, folder):
    folder.chmod(0o755)
    (folder / "real.tar").write_bytes(tarball("inside/f"))
    (folder / "evil.tar").write_bytes(tarball("../../f"))
    (folder / "fake.tar").write_text("no archive")
    lines = ["FROM busybox", "ADD real.tar /a", "ADD fake.tar /fake", "ADD --unpack=false real.tar /kept/"]
    (folder / "Dockerfile").write_text("\n".join(lines))
    (folder / "Evil").write_text("FROM busybox\nADD evil.tar /a/b/c/\n")
    listing = printed_by("cat /a/inside/f /fake; ls /kept")
    host = f"host {{ directory(path: {quote(str(folder))}) {{ %s }} }}"
    got = leaf(session.query("{" + host % f"dockerBuild {{ {listing} }}" + "}"))
    assert got == "in\nno archivereal.tar\n"
    error = session.error("{" + host % 'dockerBuild(dockerfile: "Evil") { sync }' + "}")["message"]
    assert "a path that leaves it: `../../f`" in error


def test_dkr_010_addresses_are_fetched_and_not_unpacked(session):
    archive = tarball("inside/f")
    digest = hashlib.sha256(archive).hexdigest()
    with Server({"/x/a.tar": lambda handler: give(handler, 200, archive)}) as server:
        url = f"{server.address}/x/a.tar"
        lines = ["FROM busybox", f"ARG SUM={digest}", f"ADD --checksum=sha256:${{SUM}} {url} /kept/", f"ADD --unpack=true {url} /un/", f"ADD {url} /as"]
        listing = printed_by("ls /kept /un | tr '\\n' ' '; cat /un/inside/f; stat -c %a:%u /kept/a.tar; sha256sum < /as")
        got = build(session, "\n".join(lines), listing)["withExec"]["stdout"]
        assert got == f"/kept: a.tar  /un: inside in\n600:0\n{digest}  -\n"
        wrong = f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {url} /x"
        refused(session, wrong, "`Dockerfile` line 2, `ADD`", "http checksum mismatch")


def test_dkr_010_repositories_are_checked_out(session, folder):
    folder.chmod(0o755)
    sample = Sample(folder / "repos")
    with daemon(sample.bare.parent) as base:
        url = f"{base}/r.git"
        lines = [
            "FROM busybox",
            f"ADD {url} /main",
            f"ADD {url}#dev /dev-branch",
            f"ADD {url}?branch=dev /query",
            f"ADD {url}?ref={sample.first} /first",
            f"ADD --keep-git-dir=true {url} /git",
        ]
        listing = printed_by("cat /first/README; ls -d /*/.git; ls /main > /a; ls /dev-branch > /b; ls /query | cmp - /b; cmp -s /a /b || echo differ")
        got = build(session, "\n".join(lines), listing)["withExec"]["stdout"]
        assert got == "one\n/git/.git\ndiffer\n"
        refused(session, f"FROM busybox\nADD {url}#nowhere /x", "`Dockerfile` line 2, `ADD`", "nowhere")


def test_dkr_011_steps_reach_services_of_the_session(fresh, folder):
    repository = Sample(folder)
    with daemon(repository.bare.parent) as base, fresh.session() as session:
        service = ask(session, "host", "service(ports: [{frontend: 9418, backend: %s}])" % base.rsplit(":", 1)[1], "id hostname")
        add = f"FROM busybox\nADD git://{service['hostname']}/r.git#dev /repo"
        seen = 'file(path: "/repo/dev") { contents }'
        refused(session, add, "cannot find the host")
        start_service(session, quote(service["id"]))
        assert build(session, add, seen)["file"]["contents"] == "dev\n"
        serve = """{ container { from(address: "busybox") { withNewFile(path: "/srv/f", contents: "served") { withExposedPort(port: 80) {
            asService(args: ["httpd", "-f", "-p", "80", "-h", "/srv"]) { id hostname } } } } } }"""
        service = leaf(session.query(serve))
        start_service(session, quote(service["id"]))
        url = f"http://{service['hostname']}/f"
        # busybox's C library does not reliably query a name server.
        get = f"RUN python3 -c \"import urllib.request as u; u.urlretrieve('{url}', '/run-of-it')\""
        shown = printed_by("cat /run-of-it /add")
        assert build(session, f"FROM python:3.13-slim\n{get}\nADD {url} /add", shown)["withExec"]["stdout"] == "servedserved"


def test_dkr_014_a_step_may_have_no_network(session):
    inside = build(session, "FROM busybox\nRUN --network=none ip addr > /addr", 'file(path: "/addr") { contents }')
    assert "127.0.0.1" in inside["file"]["contents"] and "eth0" not in inside["file"]["contents"]


def test_dkr_015_arguments_and_targets_are_taken(session):
    dockerfile = "FROM busybox AS first\nARG A=default\nRUN echo $A > /a\nFROM first AS second\nRUN echo second >> /a\n"
    given = 'buildArgs: [{name: "A", value: "given"}]'
    assert read(session, dockerfile, "/a") == "default\nsecond\n"
    assert read(session, dockerfile, "/a", args=given) == "given\nsecond\n"
    assert read(session, dockerfile, "/a", args=f'target: "first", {given}') == "given\n"
    refused(session, dockerfile, 'target stage "third" could not be found', args='target: "third"')


def test_dkr_015_of_stages_with_one_name_the_last_counts(session):
    dockerfile = (
        "FROM busybox AS x\nRUN echo 1 > /a\nFROM busybox AS X\nCOPY --from=x /a /a\nRUN echo 2 >> /a\n"
        "FROM x AS last\nRUN echo 3 >> /a\nFROM busybox AS x\nRUN echo 4 > /a"
    )
    assert read(session, dockerfile, "/a") == "4\n"
    assert read(session, dockerfile, "/a", args=', target: "last"') == "1\n2\n3\n"
    assert read(session, dockerfile, "/a", args=', target: "x"') == "4\n"


def test_cache_mounts_are_read_only_on_request(session):
    dockerfile = "FROM busybox\nRUN --mount=type=cache,id=of-ro,target=/c echo kept > /c/f\nRUN --mount=type=cache,id=of-ro,target=/c,ro %s"
    assert read(session, dockerfile % "cp /c/f /seen", "/seen") == "kept\n"
    assert "Read-only file system" in read(session, dockerfile % "! touch /c/x 2> /seen", "/seen")


def test_an_unknown_stop_signal_is_refused(session):
    refused(session, "FROM busybox\nSTOPSIGNAL NOPE", "line 2, `STOPSIGNAL`", "`NOPE` is no signal")


def test_dkr_016_here_documents_may_have_names_with_blanks(session):
    dockerfile = "FROM busybox\nRUN <<'E O F' cat > /one\n$HOME\nE O F\nCOPY <<\"A B\" /two\n$HOME\nA B\nRUN <<'C D'\necho 3 > /three\nC D"
    for path, content in [("/one", "$HOME\n"), ("/two", "$HOME\n"), ("/three", "3\n")]:
        assert read(session, dockerfile, path) == content


def test_dkr_016_here_documents_are_run(session):
    dockerfile = "FROM busybox\nRUN <<EOF\nset -e\nx=1\necho $x > /one\nEOF\nRUN cat <<A > /two\n$HOME\nA\n"
    assert read(session, dockerfile, "/one") == "1\n"
    assert read(session, dockerfile, "/two") == "/root\n"


def test_dkr_017_a_step_reads_its_secrets(session):
    token = set_secret(session, "barbar-plain", "my-secret")
    given = f"secrets: [{quote(token)}]"
    dockerfile = """FROM busybox
RUN --mount=type=secret,id=my-secret,required=true test "$(cat /run/secrets/my-secret)" = barbar-plain
RUN --mount=type=secret,id=my-secret,env=TOKEN test "$TOKEN" = barbar-plain
RUN --mount=type=secret,id=unknown,required=false test ! -e /run/secrets/unknown
RUN --mount=type=secret,id=my-secret cp /run/secrets/my-secret /leaked
CMD cat /leaked && tr a-z A-Z < /leaked
"""
    assert build(session, dockerfile, "withExec(args: []) { stdout }", args=given)["withExec"]["stdout"] == "***BARBAR-PLAIN"
    wanted = 'secret "my-secret" is required but no secret mappings were provided'
    refused(session, dockerfile, "line 2, `RUN`", wanted)
    message = refused(session, "FROM busybox\nRUN --mount=type=secret,id=my-secret cat /run/secrets/my-secret; exit 3", "exit code: 3", args=given)
    assert "barbar" not in message


def test_dkr_019_sync_does_not_run_the_command(session):
    assert build(session, "FROM busybox\nCMD false", "sync")["sync"]
    refused(session, "FROM busybox\nRUN echo why >&2; false", "did not complete successfully: exit code: 1")


def test_dkr_020_ignored_files_do_not_exist(session):
    files = {"bar": "1", "baz": "2", "bay": "3", "foo": "4", ".dockerignore": "ba*\n!bay\nDockerfile\n.dockerignore\n"}
    got = build(session, "FROM busybox\nCOPY . /c/\n", printed_by("ls -A /c | tr '\\n' ' '"), files)["withExec"]["stdout"]
    assert got == "bay foo "
    refused(session, "FROM busybox\nCOPY bar /c/\n", '"/bar": not found', "", files=files)
    own = {**files, "Dockerfile.dockerignore": "foo\n"}
    got = build(session, "FROM busybox\nCOPY foo* bar /c/\n", printed_by("ls -A /c | tr '\\n' ' '"), own)["withExec"]["stdout"]
    assert got == "bar "


def test_dkr_022_only_changed_steps_run_again(fresh, folder):
    folder.chmod(0o755)
    (folder / "src").mkdir()
    (folder / "src/f").write_text("1")
    (folder / "one").write_text("1")
    (folder / "other").write_text("1")
    lines = [
        "FROM busybox",
        "COPY src /src",
        "RUN cat /src/f > /copied",
        "RUN --mount=type=bind,source=one,target=/one cat /one > /bound",
        "FROM busybox AS unneeded",
        "RUN exit 9",
        "FROM busybox",
        "COPY --from=0 /copied /bound /",
    ]
    (folder / "Dockerfile").write_text("\n".join(lines))
    document = f"{{ host {{ directory(path: {quote(str(folder))}) {{ dockerBuild {{ {printed_by('cat /copied /bound')} }} }} }} }}"

    fresh.data("{ version }")

    def built() -> tuple[str, int]:
        """The output and the number of processes of a build in a new session."""
        before = fresh.execs()
        with fresh.session() as session:
            return leaf(session.query(document)), fresh.execs() - before

    assert built() == ("11", 3)
    assert built() == ("11", 0)
    (folder / "other").write_text("2")
    assert built() == ("11", 0)
    (folder / "one").write_text("2")
    assert built() == ("12", 2)
    (folder / "src/f").write_text("3")
    assert built() == ("32", 3)


def test_dkr_023_a_context_may_need_a_secret(session):
    token = set_secret(session, "of-the-context", "context-secret")
    made = f'container {{ from(address: "busybox") {{ withSecretVariable(name: "T", secret: {quote(token)}) {{ %s }} }} }}'
    command = "mkdir /ctx && printf 'FROM busybox\\nRUN echo built > /b\\n' > /ctx/Dockerfile && test -n $T"
    inner = f'withExec(args: ["sh", "-c", {quote(command)}]) {{ directory(path: "/ctx") {{ dockerBuild {{ file(path: "/b") {{ contents }} }} }} }}'
    assert leaf(session.query("{" + made % inner + "}")) == "built\n"


def test_exec_016_the_first_process_is_an_init_or_the_command(session):
    dockerfile = "FROM busybox\nRUN tr '\\000' ' ' < /proc/1/cmdline > /one; echo $$ > /me"
    fields = 'one: file(path: "/one") { contents } me: file(path: "/me") { contents }'
    with_init = build(session, dockerfile, fields)
    assert with_init["me"]["contents"] != "1\n" and "/proc/1/cmdline" not in with_init["one"]["contents"]
    without = build(session, dockerfile, fields, args="noInit: true")
    assert without["me"]["contents"] == "1\n" and without["one"]["contents"].startswith("/bin/sh -c")


def test_unneeded_stages_do_not_run_and_others_run_in_parallel(session):
    wait = 'i=0; while [ ! -e /meet/%s ] && [ $i -lt 100 ]; do i=$((i+1)); sleep 0.1; done; test -e /meet/%s'
    step = "RUN --mount=type=cache,id=meeting,target=/meet touch /meet/%s; %s"
    dockerfile = "\n".join(
        [
            "FROM busybox AS a",
            step % ("a", wait % ("b", "b")),
            "FROM busybox AS b",
            step % ("b", wait % ("a", "a")),
            "FROM busybox AS broken",
            "RUN exit 1",
            "FROM busybox",
            "COPY --from=a /etc/passwd /a",
            "COPY --from=b /etc/passwd /b",
        ]
    )
    assert build(session, dockerfile, "sync")["sync"]


def test_a_step_reaches_an_ssh_agent(session, folder):
    folder.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(folder / "agent"))
        (folder / "agent").chmod(0o666)
        agent.listen()
        found = session.query(f"{{ host {{ unixSocket(path: {quote(str(folder / 'agent'))}) {{ id }} }} }}")
        given = f"ssh: {quote(found['host']['unixSocket']['id'])}"
        dockerfile = "FROM busybox\nRUN --mount=type=ssh,required=true test -S $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK > /agent\nRUN test -z \"$SSH_AUTH_SOCK\""
        assert read(session, dockerfile, "/agent", args=given) == "/run/ssh-agent.0\n"
    refused(session, dockerfile, 'ssh "default" is required but no ssh mappings were provided')


def test_a_mistake_is_named_with_its_line(session):
    refused(session, "FROM busybox\n\nFOO bar\n", "`Dockerfile` line 3, `FOO`: unknown instruction: FOO")
    refused(session, "RUN x", "line 1, `RUN`: no build stage in current context")
    refused(session, "FROM busybox AS a\nCOPY --from=later x /x\nFROM a AS later", "the stage `later` is not before this one")
    refused(session, "FROM busybox\nENV A=\"${B:?is needed}\"", "line 2, `ENV`: `B`: is needed")
    refused(session, "FROM no-such-image:1\nRUN x", "line 1, `FROM`", "no-such-image")
    refused(session, "FROM busybox\nUSER ghost\nRUN id", "ghost")
    refused(session, "FROM busybox\nRUN cat <<EOF\nx", "line 2: the here-document `EOF` has no end")
    refused(session, "", "it has no stage")
    refused(session, "FROM busybox\nRUN --mount=type=ssh,required true", 'ssh "default" is required')


def test_old_views_have_container_build(engine):
    with engine.session("--version", "v0.18.10") as session:
        start = session.query(
            '{ directory { withNewFile(path: "Dockerfile", contents: "FROM busybox\\nARG A\\nENV B=$A") { id } } }'
        )["directory"]["withNewFile"]["id"]
        document = f'{{ container {{ build(context: {quote(start)}, buildArgs: [{{name: "A", value: "x"}}]) {{ envVariable(name: "B") }} }} }}'
        assert session.query(document)["container"]["build"]["envVariable"] == "x"
