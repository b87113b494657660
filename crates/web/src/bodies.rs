//! Admission of requests: reads their bodies within a bounded amount of memory.
//!
//! *Invariants.* An unknown client is refused before [`Admission::admit`]: its body is never read.
//! A body is read only when there is room for all of it; the room is held until its request is
//! answered.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The largest body of a request, in bytes.
pub const BODY_LIMIT: usize = 32 << 20;
/// How long a body that is too large is read on before the refusal, so that its sender reads the
/// refusal.
const DRAIN: Duration = Duration::from_secs(5);
/// How much of such a body is read, in bytes.
const DRAINED: usize = 256 << 20;

/// Bounds on the requests of one client.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// The largest body, in bytes.
    pub body: usize,
    /// The bodies of all requests under way together, in bytes; not less than `body`.
    pub bodies: usize,
    /// The number of requests under way. Further ones wait.
    pub requests: usize,
    /// How long a body may take to arrive.
    pub arrival: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { body: BODY_LIMIT, bodies: 2 * BODY_LIMIT, requests: 256, arrival: Duration::from_secs(60) }
    }
}

/// Admits requests of one client. Cheap to clone: clones share their bounds.
#[derive(Debug, Clone)]
pub struct Admission {
    limits: RequestLimits,
    requests: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(RequestLimits::default())
    }
}

/// The permission for one request. It is held until the request is answered.
#[derive(Debug)]
pub struct Admitted {
    _request: OwnedSemaphorePermit,
    _body: OwnedSemaphorePermit,
}

impl Admission {
    /// For one client.
    pub fn new(limits: RequestLimits) -> Self {
        let [requests, bodies] = [limits.requests, limits.bodies.max(limits.body)].map(|n| Arc::new(Semaphore::new(n)));
        Self { limits, requests, bodies }
    }

    /// Reads the body of a request, once there is room for it and for one more request.
    ///
    /// # Errors
    /// The answer to a body that is too large, breaks off, or takes too long to arrive.
    pub async fn admit(&self, headers: &HeaderMap, body: Body) -> Result<(Bytes, Admitted), Response> {
        let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.limits.body as u64) {
            return Err(self.too_large(headers, body, length).await);
        }
        let room = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(self.limits.body);
        let (Some(request), Some(mut held)) = (acquire(&self.requests, 1).await, acquire(&self.bodies, room).await)
        else {
            return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is ending"));
        };
        let read = tokio::time::timeout(self.limits.arrival, collect(body, self.limits.body)).await;
        let bytes = match read {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(Broken::TooLarge(rest))) => {
                // What was read is gone, and so is the claim to room for it.
                drop((request, held));
                return Err(self.too_large(headers, rest, None).await);
            }
            Ok(Err(Broken::Read(why))) => {
                return Err(refusal(StatusCode::BAD_REQUEST, &format!("cannot read the request body: {why}")));
            }
            Err(_) => {
                let seconds = self.limits.arrival.as_secs();
                let why = format!("the request body did not arrive within {seconds} s");
                return Err(refusal(StatusCode::REQUEST_TIMEOUT, &why));
            }
        };
        drop(held.split(held.num_permits().saturating_sub(bytes.len())));
        Ok((bytes, Admitted { _request: request, _body: held }))
    }

    /// The refusal of a body that is too large. A client that writes before it reads may write on,
    /// up to a bound.
    async fn too_large(&self, headers: &HeaderMap, mut body: Body, length: Option<u64>) -> Response {
        let waits = headers.contains_key(EXPECT) || length.is_some_and(|length| length > DRAINED as u64);
        if !waits {
            let drain = async {
                let mut seen = 0;
                while let Some(Ok(frame)) = body.frame().await {
                    seen += frame.data_ref().map_or(0, Bytes::len);
                    if seen > DRAINED {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout(DRAIN, drain).await;
        }
        let most = self.limits.body >> 20;
        let why = format!("the request body is larger than {most} MB");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, &why)
    }
}

async fn acquire(from: &Arc<Semaphore>, n: usize) -> Option<OwnedSemaphorePermit> {
    from.clone().acquire_many_owned(u32::try_from(n).unwrap_or(u32::MAX)).await.ok()
}

enum Broken {
    TooLarge(Body),
    Read(axum::Error),
}

async fn collect(mut body: Body, most: usize) -> Result<Bytes, Broken> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Broken::Read)?.into_data() else { continue };
        if first.len() + all.len() + data.len() > most {
            return Err(Broken::TooLarge(body));
        }
        // Nearly every body is one frame, which is not copied.
        match (first.is_empty(), all.is_empty()) {
            (true, true) => first = data,
            _ => {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&data);
            }
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// A refusal in the form of a GraphQL answer; the connection ends with it, since the rest of the
/// body was not read.
fn refusal(status: StatusCode, message: &str) -> Response {
    let text = serde_json::json!({"data": null, "errors": [{"message": message}]}).to_string();
    (status, [(CONTENT_TYPE, "application/json"), (CONNECTION, "close")], text).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    const LIMITS: RequestLimits =
        RequestLimits { body: 1000, bodies: 1500, requests: 3, arrival: Duration::from_secs(10) };

    fn pieces(pieces: Vec<usize>) -> Body {
        let pieces = pieces.into_iter().map(|n| Ok::<_, Infallible>(Bytes::from(vec![7; n])));
        Body::from_stream(stream::iter(pieces))
    }

    fn of_length(length: usize) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, length.to_string().parse().unwrap())])
    }

    async fn status(admission: &Admission, headers: &HeaderMap, body: Body) -> StatusCode {
        admission.admit(headers, body).await.map_or_else(|refused| refused.status(), |_| StatusCode::OK)
    }

    #[tokio::test]
    async fn bodies_have_a_limit_whether_or_not_they_say_their_length() {
        let admission = Admission::new(LIMITS);
        let none = HeaderMap::new();
        for (parts, want) in [(vec![], 200), (vec![400, 600], 200), (vec![400, 601], 413), (vec![1; 1000], 200)] {
            let length: usize = parts.iter().sum();
            for headers in [&none, &of_length(length)] {
                assert_eq!(status(&admission, headers, pieces(parts.clone())).await, want, "{length}");
            }
        }
        let (bytes, _held) = admission.admit(&none, pieces(vec![3, 4, 5])).await.unwrap();
        assert_eq!(bytes, [7; 12][..]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_not_waited_for() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(status(&Admission::new(LIMITS), &of_length(5), body).await, StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_held_until_requests_are_answered() {
        let admission = Admission::new(LIMITS);
        let waits = async |headers: HeaderMap, body: Body| {
            tokio::time::timeout(Duration::from_secs(1), admission.admit(&headers, body)).await.is_err()
        };
        let (_, first) = admission.admit(&of_length(900), pieces(vec![900])).await.unwrap();
        // One whose length is unknown needs room for the most; so does not one that is known to be
        // small.
        assert!(waits(HeaderMap::new(), pieces(vec![1])).await);
        assert!(waits(of_length(700), pieces(vec![700])).await);
        let (_, second) = admission.admit(&of_length(100), pieces(vec![100])).await.unwrap();
        drop(first);
        // Of the room for one of unknown length only what it took stays held.
        let (_, third) = admission.admit(&HeaderMap::new(), pieces(vec![1])).await.unwrap();
        let (_, fourth) = admission.admit(&of_length(900), pieces(vec![900])).await.unwrap();
        // There is room for its body, and not for a fourth request.
        assert!(waits(of_length(1), pieces(vec![1])).await);
        drop((second, third, fourth));
        assert!(!waits(of_length(1), pieces(vec![1])).await);
    }
}
