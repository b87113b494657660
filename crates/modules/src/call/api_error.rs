//! Errors that a module's code answers with.

use rondel_fault::{Detail, ExecFailure, Fault};
use serde_json::Value as Json;

/// Converts an API `Error` with `message` and `values` to a fault. Values with `_type` `EXEC_ERROR`
/// give the failure of a process.
pub fn error_of(message: &str, values: &[(String, Json)]) -> Fault {
    let get = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let fault = Fault::user(message);
    if values.is_empty() {
        return fault;
    }
    let text = |name: &str| get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    if get("_type").and_then(Json::as_str) == Some("EXEC_ERROR") {
        let words = get("cmd").and_then(Json::as_array).into_iter().flatten();
        let failure = ExecFailure {
            cmd: words.filter_map(Json::as_str).map(ToOwned::to_owned).collect(),
            exit_code: get("exitCode").and_then(Json::as_i64).and_then(|code| i32::try_from(code).ok()).unwrap_or(1),
            stdout: text("stdout"),
            stderr: text("stderr"),
        };
        return fault.with_detail(Detail::Exec(failure));
    }
    fault.with_detail(Detail::Values(values.iter().cloned().collect()))
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
}
