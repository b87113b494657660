"""Containers, directories and files through GraphQL, and which results are cached."""

import json

import pytest

from kit import in_busybox, leaf, processes_with
from kit.nested import ask_nested


@pytest.mark.parametrize(
    "selection, wanted",
    [
        ('withExec(args: ["echo", "hi"]) { stdout }', "hi\n"),
        ('withExec(args: ["sh", "-c", "echo no >&2"]) { stderr }', "no\n"),
        ('withExec(args: ["sh", "-c", "exit 3"], expect: ANY) { exitCode }', 3),
        ('withExec(args: ["cat"], stdin: "in") { stdout }', "in"),
        ('withWorkdir(path: "/tmp") { withExec(args: ["pwd"]) { stdout } }', "/tmp\n"),
        ('withUser(name: "nobody") { withExec(args: ["id", "-u"]) { stdout } }', "65534\n"),
        ('withUser(name: "1234:5678") { withExec(args: ["id", "-g"]) { stdout } }', "5678\n"),
        ('withEnvVariable(name: "A", value: "b") { withExec(args: ["sh", "-c", "echo $A"]) { stdout } }', "b\n"),
        ('withNewFile(path: "/x/y", contents: "z") { file(path: "/x/y") { contents } }', "z"),
        ('withExec(args: ["sh", "-c", "echo x > /made"]) { file(path: "/made") { size } }', 2),
        ('withEntrypoint(args: ["echo", "e"]) { withExec(args: ["f"], useEntrypoint: true) { stdout } }', "e f\n"),
        ('withMountedTemp(path: "/t") { withExec(args: ["sh", "-c", "stat -f -c %T /t"]) { stdout } }', "tmpfs\n"),
        ('withSymlink(target: "/etc/passwd", linkName: "/l") { withExec(args: ["readlink", "/l"]) { stdout } }', "/etc/passwd\n"),
        ('withLabel(name: "a", value: "b") { label(name: "a") }', "b"),
        ('withExec(args: ["sh", "-c", "echo >/dev/null; ls /proc/self/fd | wc -l"]) { exitCode }', 0),
        ('withExec(args: ["sh", "-c", "echo out; echo err >&2"], redirectStdout: "/o") { file(path: "/o") { contents } }', "out\n"),
        ('withExec(args: ["sh", "-c", "ps | wc -l"]) { exitCode }', 0),
        ('withoutFile(path: "/etc/group") { exists(path: "/etc/group") }', False),
        ('withNewFile(path: "/f", contents: "x", permissions: 384) { withExec(args: ["stat", "-c", "%a", "/f"]) { stdout } }', "600\n"),
    ],
)
def test_a_container_gives_what_is_selected(engine, selection, wanted):
    assert leaf(engine.data(in_busybox(selection))) == wanted


@pytest.mark.parametrize(
    "selection, wanted",
    [
        ('withNewFile(path: "a/b", contents: "x") { entries(path: "a") }', ["b"]),
        ('withNewFile(path: "a.txt", contents: "x") { withNewFile(path: "b.md", contents: "y") { glob(pattern: "*.md") } }', ["b.md"]),
        ('withNewDirectory(path: "d") { entries }', ["d/"]),
        ('withNewFile(path: "a", contents: "x") { withoutFile(path: "a") { entries } }', []),
        ('withNewFile(path: "a", contents: "x") { exists(path: "a") }', True),
        ('withNewFile(path: "a", contents: "héllo") { file(path: "a") { size } }', 6),
    ],
)
def test_a_directory_gives_what_is_selected(engine, selection, wanted):
    assert leaf(engine.data("{ directory { " + selection + " } }")) == wanted


def test_a_result_is_cached_for_a_later_engine(fresh):
    document = in_busybox('withExec(args: ["sh", "-c", "cat /proc/sys/kernel/random/uuid"]) { stdout }')
    first = leaf(fresh.data(document))
    assert leaf(fresh.data(document)) == first
    assert fresh.execs() == 1
    fresh.stop()
    assert leaf(fresh.data(document)) == first
    assert fresh.execs() == 0


def test_equal_content_from_other_steps_stops_the_rebuild(fresh):
    def document(comment: str) -> str:
        return in_busybox(
            f'withExec(args: ["sh", "-c", "mkdir /o; echo same > /o/f; touch -d @1 /o/f /o # {comment}"]) '
            '{ directory(path: "/o") { id } }'
        )

    seen = []
    with fresh.session() as session:
        for comment in "ab":
            folder = leaf(session.query(document(comment)))
            run = 'withMountedDirectory(path: "/m", source: %s) { withExec(args: ["sh", "-c", "cat /m/f /proc/sys/kernel/random/uuid"]) { stdout } }'
            seen.append(leaf(session.query(in_busybox(run % json.dumps(folder)))))
    assert seen[0] == seen[1]


def test_an_id_loads_in_a_later_session(engine):
    with engine.session() as session:
        name = leaf(session.query(in_busybox('withNewFile(path: "/f", contents: "kept") { id }')))
    assert not name.isdigit() and '"' not in name
    with engine.session() as session:
        loaded = "loadContainerFromID(id: %s) { file(path: \"/f\") { contents } }" % json.dumps(name)
        assert leaf(session.query("{ " + loaded + " }")) == "kept"
        node = "node(id: %s) { ... on Container { file(path: \"/f\") { contents } } }" % json.dumps(name)
        assert leaf(session.query("{ " + node + " }")) == "kept"


def test_equal_work_of_two_clients_is_done_once(fresh):
    document = in_busybox('withExec(args: ["sh", "-c", "sleep 1; cat /proc/sys/kernel/random/uuid"]) { stdout }')
    fresh.data("{ version }")
    started = [fresh.start_query(document) for _ in range(3)]
    answers = {process.communicate(timeout=60)[0] for process in started}
    assert len(answers) == 1 and fresh.execs() == 1


def test_a_chain_of_5000_selections_answers(engine):
    depth = 5000
    document = "{ container " + '{ withEnvVariable(name: "A", value: "1") ' * depth + '{ envVariable(name: "A") }' + "}" * depth + "}"
    with engine.session() as session:
        status, text = session.post_text({"query": document})
    assert status == 200 and text.count("withEnvVariable") == depth and '"envVariable":"1"' in text.replace(" ", ""), text[-300:]


@pytest.mark.parametrize(
    "document",
    [
        "{" * 200_000,
        "{ a(" + "[" * 200_000,
        "query { ...f } fragment f on Query { ...f }",
        "{ version " * 3,
        '{ directory { ...a } } fragment a on Directory { ...b ...b } fragment b on Directory { entries ...c ...c } fragment c on Directory { id }',
        "\x00",
        "",
    ],
    ids=["braces", "brackets", "self", "unclosed", "spreads", "nul", "empty"],
)
def test_hostile_documents_get_an_answer(engine, document):
    with engine.session() as session:
        status, answer = session.post({"query": document})
        assert status == 200 and (answer.get("errors") or answer.get("data")), (status, answer)
        assert session.query("{ version }")
    with engine.session() as session:
        assert session.post("this is no json")[0] in (200, 400)
        assert session.query("{ version }")


def test_errors_of_processes_are_typed(engine):
    with engine.session() as session:
        error = session.error(in_busybox('withExec(args: ["sh", "-c", "echo o; echo e >&2; exit 9"]) { stdout }'))
    extensions = error["extensions"]
    assert extensions["_type"] == "EXEC_ERROR"
    assert (extensions["exitCode"], extensions["stdout"].strip(), extensions["stderr"].strip()) == (9, "o", "e")
    assert extensions["cmd"][0] == "sh"
    assert "exit code: 9" in error["message"]


def test_an_exec_leaves_no_process(engine):
    marker = "86399.25"
    document = in_busybox('withExec(args: ["sh", "-c", "(sleep %s &) ; echo done"]) { stdout }' % marker)
    assert leaf(engine.data(document)) == "done\n"
    assert processes_with(marker) == []


def test_exec_019_the_api_is_inside_a_nested_exec(connected):
    nested = '{ directory { withNewFile(path: "n", contents: "x") { entries } } }'
    (answer,) = ask_nested(connected.data, [nested]).values()
    assert answer["data"] == {"directory": {"withNewFile": {"entries": ["n"]}}}


def test_no_api_without_nesting(engine):
    document = in_busybox('withExec(args: ["sh", "-c", "echo ${DAGGER_SESSION_PORT:-none}"]) { stdout }')
    assert leaf(engine.data(document)) == "none\n"


def test_an_image_names_its_reference(fresh):
    done = fresh.query(in_busybox("imageRef"))
    assert "docker.io/library/busybox" in done.ok().out and "@sha256:" in done.out
    shown = fresh.run("--progress", "plain", "query", stdin=in_busybox('withExec(args: ["true"]) { exitCode }')).ok()
    assert "busybox" in shown.err


def test_host_folders_are_read_by_content(engine, folder):
    (folder / "keep.txt").write_text("k")
    (folder / "skip.log").write_text("s")
    document = '{ host { directory(path: ".", exclude: ["*.log"]) { entries } } }'
    assert leaf(engine.data(document, cwd=folder)) == ["keep.txt"]
    (folder / "keep.txt").write_text("changed")
    assert leaf(engine.data('{ host { file(path: "keep.txt") { contents } } }', cwd=folder)) == "changed"


def test_an_exported_image_is_imported(engine, folder):
    tar = folder / "image.tar"
    document = in_busybox('withNewFile(path: "/inside", contents: "here") { export(path: %s) }' % json.dumps(str(tar)))
    engine.data(document)
    assert tar.stat().st_size > 10_000
    with engine.session() as session:
        source = leaf(session.query("{ host { file(path: %s) { id } } }" % json.dumps(str(tar))))
        again = 'container { import(source: %s) { file(path: "/inside") { contents } } }' % json.dumps(source)
        assert leaf(session.query("{ " + again + " }")) == "here"


def test_a_cache_volume_is_kept_between_engines(fresh):
    def run(script: str) -> str:
        with fresh.session() as session:
            cache = leaf(session.query('{ cacheVolume(key: "k") { id } }'))
            selection = 'withMountedCache(path: "/c", cache: %s) { withExec(args: ["sh", "-c", %s]) { stdout } }'
            return leaf(session.query(in_busybox(selection % (json.dumps(cache), json.dumps(script)))))

    run("echo one >> /c/log")
    fresh.stop()
    assert run("echo two >> /c/log; cat /c/log") == "one\ntwo\n"
