//! AWS Signature Version 4: computes the header `authorization` of a request to AWS. Sends nothing
//! and reads no clock. The request must be sent with the headers, path and body that were signed.
//! Requests with a query string are not supported.

use std::time::SystemTime;

use ring::{digest, hmac};

/// The keys that sign.
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// The session token of temporary keys.
    pub(crate) session: Option<String>,
}

/// The parts of a request that are signed. Names of headers are in lower case and sorted.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// Time, region and service of a signature.
pub(crate) struct Scope<'a> {
    /// The time as `20150830T123600Z`.
    pub(crate) time: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

impl Scope<'_> {
    fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.day(), self.region, self.service)
    }

    fn day(&self) -> &str {
        self.time.split('T').next().unwrap_or_default()
    }
}

/// The value of the header `authorization`.
pub(crate) fn authorization(keys: &Keys, request: &Request<'_>, scope: &Scope<'_>) -> String {
    let names = request.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!(
        "{}\n{}\n\n{headers}\n{names}\n{}",
        request.method,
        request.path,
        hex(digest::digest(&digest::SHA256, request.body).as_ref())
    );
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{}\n{}\n{hashed}", scope.time, scope.text());
    let steps = [scope.day(), scope.region, scope.service, "aws4_request"];
    let start = format!("AWS4{}", keys.secret).into_bytes();
    let key = steps.iter().fold(start, |key, step| mac(&key, step));
    let signature = hex(&mac(&key, &text));
    format!("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={signature}", keys.id, scope.text())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A time as `20150830T123600Z`.
pub(crate) fn stamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_published_example_is_signed_as_published() {
        // `get-vanilla` of the test suite that AWS publishes.
        let keys =
            Keys { id: "AKIDEXAMPLE".into(), secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(), session: None };
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        let request = Request { method: "GET", path: "/", headers: &headers, body: b"" };
        let scope = Scope { time: "20150830T123600Z", region: "us-east-1", service: "service" };
        let signed = authorization(&keys, &request, &scope);
        assert_eq!(
            signed,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn moments() {
        let check = |seconds, want: &str| assert_eq!(stamp(UNIX_EPOCH + Duration::from_secs(seconds)), want);
        check(0, "19700101T000000Z");
        check(951_825_599, "20000229T115959Z");
        check(1_440_938_160, "20150830T123600Z");
        check(1_735_689_599, "20241231T235959Z");
    }
}
