//! Errors that a module's code answers with.

use rondel_fault::{CAUSES, Cause, Detail, ExecFailure, Fault};
use serde_json::{Map, Value as Json};

/// The value with what a reader can do.
const HINTS: &str = "hints";

/// Converts an API `Error` with `message` and `values` to a fault. Values with `_type` `EXEC_ERROR`
/// give the failure of a process. Causes and hints of a form that is not known are ignored.
pub fn error_of(message: &str, values: &[(String, Json)]) -> Fault {
    let get = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let hints = get(HINTS).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    let fault = hints.fold(Fault::user(message), Fault::with_hint);
    let causes = get(CAUSES).and_then(|causes| serde_json::from_value::<Vec<Cause>>(causes.clone()).ok());
    let fault = fault.with_causes(causes.unwrap_or_default());
    let text = |name: &str| get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    if get("_type").and_then(Json::as_str) == Some("EXEC_ERROR") {
        let words = get("cmd").and_then(Json::as_array).into_iter().flatten();
        let failure = ExecFailure {
            cmd: words.filter_map(Json::as_str).map(ToOwned::to_owned).collect(),
            exit_code: get("exitCode").and_then(Json::as_i64).and_then(|code| i32::try_from(code).ok()).unwrap_or(1),
            stdout: text("stdout"),
            stderr: text("stderr"),
        };
        let fault = match fault.causes().is_empty() {
            true => fault.with_causes(vec![Cause::of_streams(message, &failure)]),
            false => fault,
        };
        return fault.with_detail(Detail::Exec(failure));
    }
    let others: Map<_, _> = values.iter().filter(|(name, _)| name != CAUSES && name != HINTS).cloned().collect();
    if others.is_empty() { fault } else { fault.with_detail(Detail::Values(others)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_of_functions() {
        let values =
            |json: Json| json.as_object().map(|map| map.clone().into_iter().collect::<Vec<_>>()).unwrap_or_default();
        let exec =
            values(json!({"_type": "EXEC_ERROR", "cmd": ["sh", "-c"], "exitCode": 42, "stdout": "o", "stderr": "e"}));
        let fault = error_of("boom", &exec);
        assert!(
            matches!(fault.detail(), Some(Detail::Exec(f)) if f.exit_code == 42 && f.cmd == ["sh", "-c"] && f.stderr == "e")
        );
        let fault = error_of("boom", &values(json!({"reason": {"a": 1}})));
        assert!(matches!(fault.detail(), Some(Detail::Values(map)) if map["reason"]["a"] == 1));
        assert!(error_of("boom", &[]).detail().is_none());
    }

    #[test]
    fn causes_and_hints_of_functions() {
        let values =
            |json: Json| json.as_object().map(|map| map.clone().into_iter().collect::<Vec<_>>()).unwrap_or_default();
        let causes = json!([{"type": "KeyError", "message": "5", "frames": [{"file": "main.py", "line": 3}]}]);
        let fault = error_of("boom", &values(json!({"rondel.causes": causes, "hints": ["try 6"], "a": 1})));
        assert_eq!((fault.causes()[0].frames[0].line, fault.hints()), (3, ["try 6".to_owned()].as_slice()));
        assert!(matches!(fault.detail(), Some(Detail::Values(rest)) if rest.len() == 1));
        let odd = error_of("boom", &values(json!({"rondel.causes": [{"frames": 5}], "hints": "no list"})));
        assert!(odd.causes().is_empty() && odd.hints().is_empty() && odd.detail().is_none());
        let exec = error_of("boom", &values(json!({"_type": "EXEC_ERROR", "exitCode": 3, "stderr": "e"})));
        assert!(exec.causes()[0].exec.as_ref().is_some_and(|exec| exec.exit_code == 3 && exec.output.text == "e"));
    }
}
