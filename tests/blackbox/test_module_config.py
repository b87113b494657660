"""The configuration of a module: what its keys mean, and what of it is written when a command changes it."""

import json

import pytest

from kit import PROBE, write_go_module, write_module
from kit.module_commands import config, files, make, plain, write_keys

pytestmark = pytest.mark.once


def written(engine, folder, *words, **keys):
    """The text of a configuration with these keys after a command."""
    write_keys(folder, **keys)
    engine.run(*words, cwd=folder).ok()
    return (folder / "dagger.json").read_text()


# the text


def test_a_new_configuration_has_two_spaces_of_indent_a_final_newline_and_its_order(engine, repository):
    plain(repository / "dep")
    flags = ["--sdk", "python", "--source", "m/code", "--include", "../x", "--with-self-calls"]
    engine.run("init", "m", *flags, cwd=repository).ok()
    engine.run("install", "../dep", cwd=repository / "m").ok()
    text = (repository / "m/dagger.json").read_text()
    keys = json.loads(text)
    assert text == json.dumps(keys, indent=2) + "\n"
    assert list(keys) == ["name", "engineVersion", "sdk", "include", "dependencies", "source"]


def test_a_key_without_a_value_is_left_out(engine, two):
    engine.run("install", "../lib/dep", cwd=two / "app").ok()
    engine.run("uninstall", "dep", cwd=two / "app").ok()
    assert config(two / "app") == {"name": "app", "engineVersion": "v0.21.8"}


def test_unknown_keys_order_and_indentation_stay(engine, two):
    text = '{\n\t"author": "me",\n\t"name": "app",\n\t"include": ["x", "y"],\n\t"engineVersion": "v0.21.8"\n}'
    (two / "app/dagger.json").write_text(text)
    engine.run("install", "../lib/dep", cwd=two / "app").ok()
    added = '\t"dependencies": [\n\t\t{\n\t\t\t"name": "dep",\n\t\t\t"source": "../lib/dep"\n\t\t}\n\t]\n}'
    assert (two / "app/dagger.json").read_text() == text[:-2] + ",\n" + added
    engine.run("uninstall", "dep", cwd=two / "app").ok()
    assert (two / "app/dagger.json").read_text() == text


@pytest.mark.parametrize("words", [["develop"], ["update"], ["install", "../lib/dep"], ["uninstall", "other"]], ids=lambda words: words[0])
def test_every_command_keeps_unknown_keys(engine, two, words):
    plain(two / "other")
    unknown = {"root": "..", "sdkRuntime": "x", "description": "d", "author": {"name": "A"}, "version": 1.5, "license": None, "$schema": "s"}
    keys = {**unknown, "name": "app", "engineVersion": "v0.18.0", "sdk": "python", "dependencies": [{"name": "other", "source": "../other", "note": 1}]}
    after = json.loads(written(engine, two / "app", *words, **keys))
    assert {key: after[key] for key in unknown} == unknown
    assert words[0] == "uninstall" or {"name": "other", "source": "../other", "note": 1} in after["dependencies"]


def test_a_dagger_module_toml_is_changed_too(engine, two):
    (two / "toml").mkdir()
    path = two / "toml/dagger-module.toml"
    path.write_text('# ours\nname = "toml"   # kept\nengineVersion = "v0.21.8"\nextra = 1\n')
    engine.run("install", "-m", "toml", "lib/dep", cwd=two).ok()
    assert path.read_text() == '# ours\nname = "toml"   # kept\nengineVersion = "v0.21.8"\nextra = 1\n\n[[dependencies]]\nname = "dep"\nsource = "../lib/dep"\n'
    engine.run("uninstall", "-m", "toml", "dep", cwd=two).ok()
    assert "dependencies" not in path.read_text() and "# kept" in path.read_text()
    assert not (two / "toml/dagger.json").exists()


# keys


def test_the_key_schema_is_kept_before_the_others(engine, folder):
    text = written(engine, folder, "develop", **{"$schema": "https://example.org/s.json", "name": "m", "sdk": {"source": "python"}})
    assert list(json.loads(text)) == ["$schema", "name", "engineVersion", "sdk", "disableDefaultFunctionCaching"]


def test_the_key_name_is_the_name_as_given(engine, folder):
    keys = {"name": "My-Own_module", "engineVersion": "v0.21.8"}
    assert json.loads(written(engine, folder, "update", **keys)) == keys
    assert engine.run("config", "--json", cwd=folder).json()["name"] == "My-Own_module"


@pytest.mark.parametrize(("given", "shown"), [(None, "v0.9.9"), ("latest", "v0.21.8"), ("v0.18.10", "v0.18.10"), ("0.18.10", "v0.18.10")])
def test_the_key_engine_version_is_the_version_of_the_api(engine, folder, given, shown):
    write_keys(folder, name="m", **({"engineVersion": given} if given else {}))
    assert engine.run("config", "--json", cwd=folder).json()["engineVersion"] == shown


@pytest.mark.parametrize("sdk", ["python", {"source": "python"}])
def test_the_key_sdk_is_a_string_or_an_object_and_stays_what_it_is(engine, folder, sdk):
    module = write_module(folder, PROBE, config=json.dumps({"name": "probe", "sdk": sdk, "engineVersion": "v0.18.0"}))
    assert engine.run("config", "--json", cwd=module).json()["sdk"] == "python"
    engine.run("develop", cwd=module).ok()
    assert config(module)["sdk"] == sdk


def test_the_key_sdk_is_written_as_an_object(engine, folder):
    assert config(make(engine, folder / "m", "--sdk", "python"))["sdk"] == {"source": "python"}


def test_the_key_sdk_keeps_its_settings(engine, folder):
    sdk = {"source": "python", "debug": True, "experimental": {"SELF_CALLS": True}}
    assert json.loads(written(engine, folder, "develop", name="m", engineVersion="v0.18.0", sdk=sdk))["sdk"] == sdk


@pytest.mark.parametrize(("key", "value"), [("blueprint", {"name": "b", "source": "./b"}), ("toolchains", [{"name": "t", "source": "./t"}])])
def test_the_keys_blueprint_and_toolchains_are_not_supported(engine, folder, key, value):
    module = write_keys(folder, name="m", engineVersion="v0.21.8", **{key: value})
    engine.run("functions", cwd=module).failed(f"`{key}` in `dagger.json` of `m` is not supported yet")


def test_the_key_include_selects_files_relative_to_the_configuration(engine, repository):
    for path in ("notes.txt", "m/a.txt", "m/b.txt"):
        (repository / path).parent.mkdir(exist_ok=True)
        (repository / path).touch()
    include = ["../notes.txt", "!b.txt"]
    write_keys(repository / "m", name="m", engineVersion="v0.21.8", include=include)
    assert context_of(engine, repository / "m") == ["m/a.txt", "m/dagger.json", "notes.txt"]
    engine.run("develop", "--sdk", "python", cwd=repository / "m").ok()
    assert config(repository / "m")["include"] == include


def test_the_key_exclude_excludes_and_stays(engine, folder):
    write_keys(folder, name="m", engineVersion="v0.21.8", exclude=["b.txt"])
    for name in ("a.txt", "b.txt"):
        (folder / name).touch()
    assert context_of(engine, folder) == ["a.txt", "dagger.json"]
    engine.run("update", cwd=folder).ok()
    assert config(folder)["exclude"] == ["b.txt"] and "include" not in config(folder)


def context_of(engine, module):
    """The files of a module's context directory."""
    document = f'{{ moduleSource(refString: "{module}") {{ contextDirectory {{ glob(pattern: "**/*") }} }} }}'
    paths = engine.data(document)["moduleSource"]["contextDirectory"]["glob"]
    return sorted(path for path in paths if not path.endswith("/"))


def test_files_that_git_ignores_belong_to_no_module(engine, repository):
    plain(repository / "m")
    for name in ("kept.txt", "ignored.txt"):
        (repository / "m" / name).touch()
    (repository / ".gitignore").write_text("ignored.txt\n")
    assert context_of(engine, repository / "m") == ["m/dagger.json", "m/kept.txt"]


def test_the_key_dependencies_is_read_with_strings_which_stay(engine, two):
    keys = {"name": "app", "engineVersion": "v0.18.0", "dependencies": ["../lib/dep"]}
    plain(two / "other")
    after = json.loads(written(engine, two / "app", "install", "../other", **keys))
    assert after["dependencies"] == ["../lib/dep", {"name": "other", "source": "../other"}]
    assert "dep (" in engine.run("config", cwd=two / "app").ok().out


def test_the_name_of_a_dependency_is_that_of_its_entry(engine, repository):
    """Generated code calls it by the name of the entry, which differs from the module's own."""
    code = "package main\n\ntype %s struct{}\n\nfunc (m *%s) Hello() string { return \"\" }\n"
    write_go_module(repository / "dep", {"main.go": code % ("Dep", "Dep")}, name="dep")
    app = write_go_module(repository / "app", {"main.go": code % ("App", "App")}, name="app")
    engine.run("install", "-n", "other", "../dep", cwd=app).ok()
    bindings = "".join((app / "internal/dagger" / path.name).read_text() for path in (app / "internal/dagger").iterdir())
    assert "func (r *Client) Other(" in bindings and "func (r *Client) Dep(" not in bindings


def test_the_key_source_is_not_written_for_the_folder_itself(engine, folder):
    engine.run("init", "m", "--sdk", "python", "--source", "m", cwd=folder).ok()
    assert "source" not in config(folder / "m")
    assert engine.run("config", "--json", cwd=folder / "m").json()["sourceDirectory"] == "."


def test_the_key_codegen_turns_off_the_ignored_paths(engine, folder):
    keys = {"name": "m", "engineVersion": "v0.18.0", "sdk": "python", "codegen": {"automaticGitignore": False}}
    assert json.loads(written(engine, folder, "develop", **keys))["codegen"] == {"automaticGitignore": False}
    assert not (folder / ".gitignore").exists() and (folder / ".gitattributes").exists()


def test_the_key_clients_is_kept(engine, folder):
    clients = [{"generator": "../g", "directory": "c"}]
    plain(folder, "m", clients=clients)
    assert engine.run("client", "list", cwd=folder).ok().out == "c  ../g\n"
    engine.run("client", "uninstall", "c", cwd=folder).ok()
    assert "clients" not in config(folder)


@pytest.mark.parametrize(("version", "given", "after"), [("v0.19.3", None, True), (None, None, True), ("v0.19.4", None, None), ("v0.19.3", False, False), ("v0.21.8", True, True)])
def test_the_key_that_disables_caching_is_written_for_modules_before_caching(engine, folder, version, given, after):
    keys = {"name": "m", "engineVersion": version, "disableDefaultFunctionCaching": given}
    text = written(engine, folder, "update", **{key: value for key, value in keys.items() if value is not None})
    assert json.loads(text).get("disableDefaultFunctionCaching") is after
    assert json.loads(text)["engineVersion"] == "v0.21.8"


# errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"name": "m", "sdk": "python", "source": "../x"}', ['source path "../x" contains parent directory components']),
        ('{"name": "m", "source": "code"}', ['source path "code" specified without sdk']),
        ('{"name": "m", "sdk": "python", "blueprint": {"source": "./b"}}', ["`blueprint`", "not supported yet"]),
        ('{"name": 1}', ["cannot read module configuration", "`name`: invalid type"]),
        ('{"name": "m", "engineVersion": "v1.0.0"}', ["module requires dagger v1.0.0, but you have v0.21.8"]),
        ('{"name": 1, "engineVersion": "v1.0.0"}', ["module requires dagger v1.0.0, but you have v0.21.8"]),
        ('{"name": "m", "engineVersion": "v0.9.8", "sdk": "python"}', ["module requires dagger v0.9.8, but support for that version has been removed"]),
        ("", ["no JSON object"]),
    ],
    ids=["source leads upwards", "source without sdk", "blueprint and sdk", "does not decode", "too new", "too new and does not decode", "too old", "empty"],
)
def test_a_configuration_that_is_wrong_is_an_error(engine, folder, text, words):
    (folder / "dagger.json").write_text(text)
    engine.run("functions", cwd=folder).failed(*words)
    engine.run("develop", "--compat=skip", "--sdk", "python", cwd=folder).failed(words[0])
    assert files(folder) == {"dagger.json": text}


def test_a_configuration_that_does_not_parse_stays(engine, folder):
    (folder / "dagger.json").write_text('{\n  "name": "x",\n}\n')
    before = files(folder)
    for words in (["init", folder], ["develop", "-m", folder], ["install", "-m", folder, "./x"], ["update", "-m", folder], ["config", "-m", folder]):
        engine.run(*words).failed(f"{folder.resolve()}/dagger.json", "at line 3 column 1")
    engine.run("init", folder).failed("failed to check if module exists")
    assert files(folder) == before
