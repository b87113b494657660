//! Responses of the API: their data, or their errors.

use rondel_fault::{CAUSES, Cause, Code, Detail, ExecFailure, Fault, Frame, Kind, Result};
use serde::Deserialize as _;
use serde_json::Value;

/// A GraphQL document that the user wrote.
pub(crate) struct Document<'a> {
    /// The name of its file.
    pub(crate) file: &'a str,
    /// Its text.
    pub(crate) text: &'a str,
}

impl Document<'_> {
    /// The line at a location of an error.
    fn place(&self, location: &Value) -> Option<Frame> {
        let number = |name: &str| u32::try_from(location[name].as_u64()?).ok();
        let (line, column) = (number("line")?, number("column")?);
        let (line, column, source) = match self.text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?) {
            Some(source) => (line, column, source),
            // The end of the document is after its last line.
            None => {
                let last = self.text.lines().last()?;
                let count = |count: usize| u32::try_from(count).ok();
                (count(self.text.lines().count())?, count(last.chars().count() + 1)?, last)
            }
        };
        Some(Frame { file: self.file.to_owned(), line, column, source: source.to_owned(), ..Frame::default() })
    }
}

/// What helps when the disk of the engine is full.
pub(crate) const FREE_SPACE_HINT: &str =
    "`rondel cache prune` frees disk space: it removes cached work that is not in use";

/// Responses that are nested deeper are refused.
const MAX_DEPTH: usize = 100_000;

fn parse(answer: &[u8]) -> Result<Value> {
    let wrong = |e| Fault::environment("the engine's answer is not understood").caused_by(e);
    let mut depth = 0_usize;
    let mut deepest = 0;
    for byte in answer {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > MAX_DEPTH {
        return Err(Fault::user(format!("the answer is nested more than {MAX_DEPTH} deep")));
    }
    let mut reader = serde_json::Deserializer::from_slice(answer);
    reader.disable_recursion_limit();
    Value::deserialize(&mut reader).map_err(wrong)
}

/// The data of a response, or its errors: the first one, with the others as its siblings. Fields
/// that failed for the same reason count as one.
///
/// Errors of the user's that have no causes name their place in `document`, if there is one.
pub(crate) fn data(answer: &[u8], document: Option<&Document<'_>>) -> Result<Value> {
    let mut answer = parse(answer)?;
    let mut faults: Vec<(Fault, Option<Frame>)> = Vec::new();
    for error in answer["errors"].as_array().into_iter().flatten() {
        let fault = fault_of(error);
        let is_same = |(other, _): &(Fault, _)| other.message() == fault.message() && other.causes() == fault.causes();
        if !faults.iter().any(is_same) {
            let frame = document.and_then(|document| document.place(&error["locations"][0]));
            faults.push((fault, frame));
        }
    }
    let mut faults = faults.into_iter().map(|(fault, frame)| match frame {
        Some(frame) if fault.kind() == Kind::User && fault.causes().is_empty() => {
            let refused = Cause { call: "query".into(), frames: vec![frame], ..Cause::attempt(fault.full_message()) };
            fault.with_causes(vec![refused])
        }
        _ => fault,
    });
    match faults.next() {
        None => Ok(answer["data"].take()),
        Some(first) => Err(first.with_siblings(faults.collect())),
    }
}

/// An error of a response as a [`Fault`].
fn fault_of(error: &Value) -> Fault {
    let message = error["message"].as_str().unwrap_or("the engine gave an error without a message");
    let extensions = &error["extensions"];
    let mut fault = match extensions["_type"].as_str() {
        Some("ENVIRONMENT_ERROR") => Fault::environment(message),
        Some("DENIED_ERROR") => Fault::denied(message),
        Some("CANCELLED_ERROR") => Fault::cancelled(message),
        Some("BUG_ERROR") => Fault::bug(message),
        _ => Fault::user(message),
    };
    if let Some(code) = extensions["code"].as_str().and_then(Code::from_name) {
        fault = fault.with_code(code);
    }
    if extensions["_type"] == "EXEC_ERROR" {
        let text = |name: &str| extensions[name].as_str().unwrap_or_default().to_owned();
        let cmd = extensions["cmd"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(ToOwned::to_owned));
        fault = fault.with_detail(Detail::Exec(ExecFailure {
            cmd: cmd.collect(),
            exit_code: extensions["exitCode"].as_i64().and_then(|c| i32::try_from(c).ok()).unwrap_or(1),
            stdout: text("stdout"),
            stderr: text("stderr"),
        }));
    }
    if fault.code() == Code::ResourceExhausted {
        fault = fault.with_hint(FREE_SPACE_HINT);
    }
    // A newer engine may know causes of another form.
    if let Ok(causes) = Vec::<Cause>::deserialize(&extensions[CAUSES]) {
        fault = fault.with_causes(causes);
    }
    for hint in extensions["hints"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        fault = fault.with_hint(hint);
    }
    fault
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deep_answer_is_read() {
        let read = |depth: usize| {
            let text = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
            let check = move || parse(text.as_bytes()).map(drop).is_ok();
            std::thread::Builder::new()
                .stack_size(crate::STACK)
                .spawn(check)
                .expect("a thread")
                .join()
                .expect("no overflow")
        };
        assert!(read(50_000));
        assert!(!read(MAX_DEPTH + 1));
    }

    #[test]
    fn places_in_a_document() {
        let document = Document { file: "a.graphql", text: "{\n  frm\n}\n" };
        let place = |answer: &str| {
            let fault = data(answer.as_bytes(), Some(&document)).expect_err("an error");
            fault.causes().first().and_then(|cause| cause.frames.first()).cloned()
        };
        let frame = place(r#"{"errors":[{"message":"no","locations":[{"line":2,"column":3}]}]}"#).expect("a place");
        assert_eq!((frame.line, frame.column, &*frame.source, &*frame.file), (2, 3, "  frm", "a.graphql"));
        let field = |kind: &str| {
            format!(
                r#"{{"errors":[{{"message":"no","locations":[{{"line":2,"column":3}}],"extensions":{{"_type":"{kind}"}}}}]}}"#
            )
        };
        assert_eq!(place(&field("USER_ERROR")).map(|frame| frame.line), Some(2));
        assert_eq!(place(&field("ENVIRONMENT_ERROR")), None);
        let end = place(r#"{"errors":[{"message":"no","locations":[{"line":9,"column":1}]}]}"#).expect("a place");
        assert_eq!((end.line, end.column, &*end.source), (3, 2, "}"));
        assert_eq!(place(r#"{"errors":[{"message":"no"}]}"#), None);
    }

    #[test]
    fn errors_of_an_answer() {
        let answer = br#"{"data":null,"errors":[{"message":"no","extensions":{"_type":"EXEC_ERROR","cmd":["sh"],"exitCode":42,"stdout":"o","stderr":"e"}}]}"#;
        let fault = data(answer, None).expect_err("an error");
        assert!(matches!(fault.detail(), Some(Detail::Exec(f)) if f.exit_code == 42 && f.stderr == "e"));
        let answer =
            br#"{"errors":[{"message":"no","extensions":{"rondel.causes":[{"call":"ci go","message":"no"}]}}]}"#;
        assert_eq!(data(answer, None).expect_err("an error").causes()[0].call, "ci go");
        assert_eq!(data(br#"{"data":{"a":1}}"#, None).ok(), Some(json!({"a": 1})));
        let several = br#"{"errors":[{"message":"a"},{"message":"b"},{"message":"a"},{"message":"c"}]}"#;
        let fault = data(several, None).expect_err("an error");
        let others: Vec<&str> = fault.siblings().iter().map(Fault::message).collect();
        assert_eq!((fault.message(), others), ("a", vec!["b", "c"]));
    }
}
