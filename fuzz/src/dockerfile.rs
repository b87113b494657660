//! Dockerfiles, and the files of patterns beside them.

use rondel_dockerfile::{Base, Known, Need, Outcome, Request, build, ignore_patterns, parse};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Fs, Platform};

/// A build that asks for more is answered so often; triggers of images are none here.
const ROUNDS: usize = 8;

/// Reads the input as text.
pub fn run(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let place = || TreePath { fs: Fs::scratch(), path: AbsPath::root() };
    let ignore = ignore_patterns(text);
    let Ok(dockerfile) = parse("Dockerfile", text) else { return };
    let request = Request {
        context: place(),
        ignore,
        platform: Platform::native(),
        target: String::new(),
        args: vec![("A".into(), "value".into())],
        secrets: Vec::new(),
        ssh: None,
        entitlements: Default::default(),
        no_init: false,
        namespace: String::new(),
    };
    let mut known = Known::new();
    for _ in 0..ROUNDS {
        let Ok(Outcome::Needs(needs)) = build(&dockerfile, &request, &known) else { return };
        for (need, _) in needs {
            let platform = match &need {
                Need::Image { platform, .. } => platform.clone(),
                _ => Platform::native(),
            };
            known.insert(need, Base { place: place(), config: Default::default(), history: None, platform });
        }
    }
}
