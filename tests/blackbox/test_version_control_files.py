"""`.gitattributes` and `.gitignore`, which name the generated files of a module."""

import pytest

from kit.module_commands import config, files, listed, plain

pytestmark = pytest.mark.once

ATTRIBUTES = {
    "go": ["dagger.gen.go", "internal/dagger/**", "internal/telemetry/**"],
    "python": ["sdk/**"],
}
IGNORED = {
    "go": ["dagger.gen.go", "internal/dagger", "internal/telemetry", ".env"],
    "python": [".venv", "**/__pycache__", "sdk", ".env"],
}
SDKS = sorted(ATTRIBUTES)


@pytest.fixture(params=SDKS)
def sdk(request):
    return request.param


def lines_of(paths, after=""):
    return "".join(f"/{path}{after}\n" for path in paths)


def test_generated_and_ignored_paths_are_those_of_the_sdk(engine, folder, sdk):
    engine.run("develop", "--sdk", sdk, cwd=plain(folder / "m")).ok()
    assert (folder / "m/.gitattributes").read_text() == lines_of(ATTRIBUTES[sdk], " linguist-generated")
    assert (folder / "m/.gitignore").read_text() == lines_of(IGNORED[sdk])


def test_an_sdk_for_typescript_is_not_supported(engine, folder):
    engine.run("init", folder / "m", "--sdk", "typescript").failed("`typescript` is not supported yet")
    assert files(folder) == {}


def test_the_files_are_in_the_folder_of_the_code(engine, folder, sdk):
    module = plain(folder / "m")
    engine.run("develop", "--sdk", sdk, "--source", module / "code", cwd=module).ok()
    assert config(module)["source"] == "code"
    assert {path for path in files(module) if ".git" in path} == {"code/.gitattributes", "code/.gitignore"}


def test_lines_are_appended_after_a_newline(engine, folder):
    module = plain(folder / "m")
    (module / ".gitattributes").write_text("*.x binary")
    (module / ".gitignore").write_text("/mine\n")
    said = listed(engine.run("develop", "--sdk", "python", cwd=module))
    assert (module / ".gitattributes").read_text() == "*.x binary\n/sdk/** linguist-generated\n"
    assert (module / ".gitignore").read_text() == "/mine\n" + lines_of(IGNORED["python"])
    assert said[".gitattributes"] == said[".gitignore"] == "changed"


def test_a_path_that_occurs_anywhere_counts_as_present(engine, folder):
    module = plain(folder / "m")
    (module / ".gitattributes").write_text("# sdk/** is ours\n")
    (module / ".gitignore").write_text("# not .venv, nor the sdk-files\n/.env.local\n")
    engine.run("develop", "--sdk", "python", cwd=module).ok()
    assert (module / ".gitattributes").read_text() == "# sdk/** is ours\n"
    assert (module / ".gitignore").read_text() == "# not .venv, nor the sdk-files\n/.env.local\n/**/__pycache__\n"


def test_a_file_that_is_not_utf_8_keeps_its_bytes(engine, folder):
    module = plain(folder / "m")
    (module / ".gitignore").write_bytes(b"# caf\xe9\r\n/.venv")
    engine.run("develop", "--sdk", "python", cwd=module).ok()
    assert (module / ".gitignore").read_bytes() == b"# caf\xe9\r\n/.venv\n/**/__pycache__\n/sdk\n/.env\n"


def test_the_env_file_is_ignored_unless_it_occurs(engine, folder):
    for name, before, after in (("a", "x\n", 1), ("b", "**/.env\n", 0)):
        module = plain(folder / name)
        (module / ".gitignore").write_text(before)
        engine.run("develop", "--sdk", "go", cwd=module).ok()
        assert (module / ".gitignore").read_text().splitlines().count("/.env") == after


def test_without_automatic_gitignore_only_the_attributes_are_written(engine, folder, sdk):
    module = plain(folder / "m", codegen={"automaticGitignore": False})
    engine.run("develop", "--sdk", sdk, cwd=module).ok()
    assert not (module / ".gitignore").exists() and (module / ".gitattributes").exists()


def test_new_files_can_be_read_by_all(engine, folder):
    module = plain(folder / "m")
    engine.run("develop", "--sdk", "python", cwd=module).ok()
    assert {oct((module / name).stat().st_mode & 0o777) for name in (".gitignore", ".gitattributes", "LICENSE", "dagger.json")} == {"0o644"}


def test_the_mode_of_a_file_stays(engine, folder):
    module = plain(folder / "m")
    (module / ".gitignore").touch(0o600)
    (module / "dagger.json").chmod(0o640)
    engine.run("develop", "--sdk", "python", cwd=module).ok()
    assert [oct((module / name).stat().st_mode & 0o777) for name in (".gitignore", "dagger.json")] == ["0o600", "0o640"]
