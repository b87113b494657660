//! Modules: types from their source, generated code, and calls beside the compiler of the language.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::engine::Engine;
use crate::peers::find;
use crate::samples::{Row, Samples};

/// How many functions a module of about 500 lines has.
const FUNCTIONS: usize = 60;
/// Where an installed Go toolchain is, if it is not in `PATH`.
const GO: &str = "/usr/local/go/bin/go";

/// `rondel functions` on a running engine with an empty state directory, without an image and
/// without a network.
pub(crate) fn types(engine: &Engine) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (language, write) in [("Go", go_module as fn(&Path) -> Result<(), String>), ("Python", python_module)] {
        let (mut first, mut again) = (Vec::new(), Vec::new());
        for round in 0..engine.runs(10) {
            let engine = engine.without_images(&format!("types-{round}"))?;
            let module = folder(engine.folder().join("listed"))?;
            write(&module)?;
            let words = ["-s", "functions", "-m", &module.to_string_lossy()];
            engine.query("{ version }")?;
            first.push(Samples::of(1, |_| engine.run(&words).map(drop))?);
            again.push(Samples::of(10, |_| engine.run(&words).map(drop))?);
        }
        let name = format!("`rondel functions`, {language}, 500 lines");
        rows.push(Row::time(&name, Some(Duration::from_millis(50)), &Samples::merged(first)));
        rows.push(Row::time("  unchanged", Some(Duration::from_millis(10)), &Samples::merged(again)));
    }
    Ok(rows)
}

/// Writes generated code into the tree of a module whose source changed.
pub(crate) fn generate(engine: &Engine) -> Result<Vec<Row>, String> {
    let module = folder(engine.folder().join("generated"))?;
    go_module(&module)?;
    let words = ["develop", "-m", &module.to_string_lossy()];
    engine.run(&words)?;
    let mut generated = Vec::new();
    let whole = Samples::of(engine.runs(20), |at| {
        edit(&module, &format!("gone {at}"))?;
        generated.push(engine.time_of_work(&words, "generate code of module")?);
        Ok(())
    })?;
    Ok(vec![
        Row::time(
            "generated Go code for the whole API",
            Some(Duration::from_millis(30)),
            &generated.into_iter().collect(),
        ),
        Row::time("  `rondel develop`, whole process", None, &whole),
    ])
}

/// A function of a module in Go, and `go build` of the same package on this machine.
pub(crate) fn go(engine: &Engine) -> Result<Vec<Row>, String> {
    let engine = engine.apart("go")?;
    let module = folder(engine.folder().join("module"))?;
    go_module(&module)?;
    let words = ["-s", "call", "-m", &module.to_string_lossy(), "say-0", "--text=bench"];
    engine.query("{ version }")?;
    let cold = Samples::of(1, |_| engine.run(&words).map(drop))?;
    let edited = Samples::of(engine.runs(10), |at| {
        edit(&module, &format!("edit {at}"))?;
        engine.run(&words).map(drop)
    })?;
    let unchanged = Samples::of(engine.runs(20), |_| engine.run(&words).map(drop))?;
    let row = |name: &str, samples: &Samples| Row::time(name, None, samples);
    let mut rows = vec![
        row("`rondel call`, Go, first build of an engine", &cold),
        row("  one line edited", &edited),
        row("  unchanged", &unchanged),
    ];
    let compiler = find("go").or_else(|| Some(PathBuf::from(GO)).filter(|path| path.exists()));
    let Some(compiler) = compiler else { return Ok(rows) };
    engine.run(&["-s", "develop", "-m", &module.to_string_lossy()])?;
    let build = || {
        let mut command = Command::new(&compiler);
        command.args(["build", "-mod=mod", "-ldflags", "-s -w", "-o", "../program", "."]).current_dir(&module);
        let variables = [("GOTOOLCHAIN", "local"), ("GOFLAGS", "-buildvcs=false"), ("CGO_ENABLED", "0")];
        command.envs(variables).env("GOCACHE", engine.folder().join("go-cache"));
        let output = command.output().map_err(|e| format!("cannot run `{}`: {e}", compiler.display()))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("`go build` failed: {}", String::from_utf8_lossy(&output.stderr))),
        }
    };
    rows.push(row("`go build`, the same, empty cache", &Samples::of(1, |_| build())?));
    let edited = Samples::of(engine.runs(10), |at| edit(&module, &format!("host {at}")).and_then(|()| build()))?;
    rows.push(row("  one line edited", &edited));
    rows.push(row("  unchanged", &Samples::of(engine.runs(10), |_| build())?));
    Ok(rows)
}

/// A module in Go of about 500 lines.
fn go_module(folder: &Path) -> Result<(), String> {
    let functions: String = (0..FUNCTIONS)
        .map(|at| {
            format!(
                "// Say{at} gives a text back.\nfunc (b *Bench) Say{at}(\n\t// The text\n\ttext string,\n\t// +default=1\n\t\
                 times int,\n) string {{\n\treturn strings.Repeat(text, times)\n}}\n\n"
            )
        })
        .collect();
    let code = format!(
        "package main\n\nimport \"strings\"\n\nconst Edited = \"\"\n\n// Bench has many functions.\ntype Bench struct{{}}\n\n{functions}"
    );
    written(&folder.join("main.go"), &code)?;
    written(&folder.join("go.mod"), "module dagger/bench\n\ngo 1.24\n")?;
    configuration(folder, "go")
}

/// A module in Python of about 500 lines.
fn python_module(folder: &Path) -> Result<(), String> {
    let functions: String = (0..FUNCTIONS)
        .map(|at| {
            format!(
                "    @function\n    def say_{at}(\n        self,\n        text: Annotated[str, Doc(\"The text\")],\n        \
                 times: int = 1,\n    ) -> str:\n        \"\"\"Gives a text back\"\"\"\n        return text * times\n\n"
            )
        })
        .collect();
    let imports = "from typing import Annotated\n\nfrom dagger import Doc, function, object_type\n";
    let code = format!("{imports}\n\n@object_type\nclass Bench:\n    \"\"\"Has many functions\"\"\"\n\n{functions}");
    let package = self::folder(folder.join("src/bench"))?;
    written(&package.join("__init__.py"), &code)?;
    let project = "[project]\nname = \"bench\"\nversion = \"0.1.0\"\ndependencies = [\"dagger-io\"]\n";
    written(&folder.join("pyproject.toml"), project)?;
    configuration(folder, "python")
}

fn configuration(folder: &Path, sdk: &str) -> Result<(), String> {
    let text = format!("{{\"name\": \"bench\", \"engineVersion\": \"v0.21.8\", \"sdk\": {{\"source\": \"{sdk}\"}}}}\n");
    written(&folder.join("dagger.json"), &text)
}

/// Changes one line of the module in Go.
fn edit(module: &Path, text: &str) -> Result<(), String> {
    let path = module.join("main.go");
    let code = std::fs::read_to_string(&path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
    let lines = code.lines().map(|line| match line.starts_with("const Edited") {
        true => format!("const Edited = \"{text}\"\n"),
        false => format!("{line}\n"),
    });
    written(&path, &lines.collect::<String>())
}

fn folder(path: PathBuf) -> Result<PathBuf, String> {
    std::fs::create_dir_all(&path).map_err(|e| format!("cannot make `{}`: {e}", path.display()))?;
    Ok(path)
}

fn written(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("cannot write `{}`: {e}", path.display()))
}
