//! The least HTTP that a GraphQL endpoint on loopback needs: one connection, one request after the
//! other.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

/// A kept connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Connection {
    pub(crate) fn open(port: u16, token: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| format!("cannot connect: {e}"))?;
        stream.set_nodelay(true).map_err(|e| format!("cannot set up the connection: {e}"))?;
        let credentials = base64(format!("{token}:").as_bytes());
        let head = format!(
            "POST /query HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {credentials}\r\n\
             Content-Type: application/json\r\n"
        );
        Ok(Self { stream: BufReader::new(stream), head })
    }

    /// Sends a query and checks that the answer has no errors. It is not parsed: it may be a
    /// thousand levels deep.
    pub(crate) fn query(&mut self, document: &str) -> Result<(), String> {
        let body = json!({ "query": document }).to_string();
        let request = format!("{}Content-Length: {}\r\n\r\n{body}", self.head, body.len());
        self.stream.get_mut().write_all(request.as_bytes()).map_err(|e| format!("cannot send: {e}"))?;
        let bytes = self.answer().map_err(|e| format!("cannot read the answer: {e}"))?;
        let answer = String::from_utf8_lossy(&bytes);
        match answer.find("\"errors\"") {
            Some(at) => Err(format!("the query failed: {}", &answer[at..])),
            None if answer.contains("\"data\"") => Ok(()),
            None => Err(format!("this is no answer: {answer}")),
        }
    }

    fn answer(&mut self) -> std::io::Result<Vec<u8>> {
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        if chunked { self.chunks() } else { self.exactly(length) }
    }

    fn chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            let part = self.exactly(size)?;
            self.stream.read_line(&mut line)?;
            if size == 0 {
                return Ok(all);
            }
            all.extend(part);
        }
    }

    fn exactly(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0_u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|t| base64(t.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }
}
