//! Plaintext of the secrets of a session, by the key and address that name it everywhere else.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rondel_digest::Digest;
use rondel_fault::{Fault, Result, lock};
use rondel_model::SecretRef;
use rondel_ops::redact;
use rondel_ports::BoxFuture;
use rondel_ports::secrets::{Plaintext, Secrets};

/// The most addresses whose secrets a session caches.
const MAX_ADDRESSES: usize = 10_000;

/// Plaintext from a provider, and how long it is valid.
#[derive(Clone)]
pub struct ProvidedSecret {
    /// The plaintext.
    pub plaintext: Arc<Plaintext>,
    /// When it expires. `None` keeps it until the session ends.
    pub until: Option<Instant>,
}

impl ProvidedSecret {
    /// Plaintext that does not expire.
    pub fn lasting(plaintext: Plaintext) -> Self {
        Self { plaintext: Arc::new(plaintext), until: None }
    }

    fn is_valid(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// The handle of plaintext: its key, its address and whether a nested client named it. Users may
/// give several addresses one key, and by one address a nested client means its own container.
type Handle = (Digest, Arc<str>, bool);

fn handle(secret: &SecretRef) -> Handle {
    (secret.key, secret.uri.clone(), secret.from_nested_client)
}

/// The secret of one address. Its readers wait for a read under way.
type Slot = Arc<tokio::sync::Mutex<Option<ProvidedSecret>>>;

/// Plaintext by handle. It is never written anywhere.
#[derive(Default)]
pub struct SecretStore {
    known: Mutex<HashMap<Handle, ProvidedSecret>>,
    /// The errors of providers.
    failed: Mutex<HashMap<Handle, Fault>>,
    provided: Mutex<HashMap<String, Slot>>,
    /// The compiled plaintext for logs. `None` until it is needed, and after each change.
    redaction: Mutex<Option<redact::Secrets>>,
    /// Whether there has been any plaintext.
    is_used: AtomicBool,
}

impl SecretStore {
    /// Stores plaintext until it expires.
    pub fn put(&self, secret: &SecretRef, provided: ProvidedSecret) {
        let handle = handle(secret);
        lock(&self.failed).remove(&handle);
        lock(&self.known).insert(handle, provided);
        *lock(&self.redaction) = None;
        self.is_used.store(true, Ordering::Release);
    }

    /// Stores why there is no plaintext. Everything that needs the secret fails with this error.
    pub fn put_failure(&self, secret: &SecretRef, fault: Fault) {
        let handle = handle(secret);
        lock(&self.known).remove(&handle);
        *lock(&self.redaction) = None;
        let mut failed = lock(&self.failed);
        if failed.len() >= MAX_ADDRESSES {
            failed.clear();
        }
        failed.insert(handle, fault);
    }

    /// The error of the provider, if it failed.
    pub fn failure(&self, secret: &SecretRef) -> Option<Fault> {
        lock(&self.failed).get(&handle(secret)).cloned()
    }

    /// The plaintext, or `None` if no client of the session passed it or it has expired.
    pub fn get(&self, secret: &SecretRef) -> Option<Arc<Plaintext>> {
        let known = lock(&self.known);
        let found = known.get(&handle(secret));
        found.filter(|provided| provided.is_valid()).map(|provided| provided.plaintext.clone())
    }

    /// What redacts all plaintext of the session, expired plaintext included, as it is and as it
    /// looks inside quotes. It is compiled once per change, and lives as long as the session.
    /// `None` while the session has had no plaintext, at the cost of reading one flag.
    pub fn redaction(&self) -> Option<redact::Secrets> {
        if !self.is_used.load(Ordering::Acquire) {
            return None;
        }
        let mut redaction = lock(&self.redaction);
        Some(redaction.get_or_insert_with(|| self.compile()).clone())
    }

    fn compile(&self) -> redact::Secrets {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        for provided in lock(&self.known).values() {
            let bytes = provided.plaintext.bytes();
            patterns.push(bytes.to_vec());
            if let Ok(text) = std::str::from_utf8(bytes) {
                let json = serde_json::to_string(text.trim()).unwrap_or_default();
                let quoted = [json, format!("{:?}", text.trim())];
                let inside = |text: &String| Some(text.strip_prefix('"')?.strip_suffix('"')?.as_bytes().to_vec());
                patterns.extend(quoted.iter().filter_map(inside));
            }
        }
        redact::Secrets::new(patterns.iter().map(Vec::as_slice))
    }

    /// The cached secret of the provider at `uri`, or the result of `read`. One caller reads at a
    /// time.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn provided(
        &self,
        uri: &str,
        read: impl Future<Output = Result<ProvidedSecret>>,
    ) -> Result<ProvidedSecret> {
        let slot = {
            let mut provided = lock(&self.provided);
            if provided.len() >= MAX_ADDRESSES {
                provided.clear();
            }
            provided.entry(uri.to_owned()).or_default().clone()
        };
        let mut held = slot.lock().await;
        if let Some(provided) = held.as_ref().filter(|provided| provided.is_valid()) {
            return Ok(provided.clone());
        }
        let provided = read.await?;
        *held = Some(provided.clone());
        Ok(provided)
    }
}

fn unknown(secret: &SecretRef) -> Fault {
    let what = if secret.name.is_empty() { &secret.uri } else { &secret.name };
    // Clients match on the last words.
    Fault::user(format!("secret `{what}` is not known in this session: no bound resource for session"))
        .with_hint("set it again with `setSecret`, or name a provider such as `env://NAME`")
}

impl Secrets for SecretStore {
    fn plaintext<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<Arc<Plaintext>>> {
        Box::pin(async move { self.get(secret).ok_or_else(|| self.failure(secret).unwrap_or_else(|| unknown(secret))) })
    }

    fn known(&self, secret: &SecretRef) -> Option<Arc<Plaintext>> {
        self.get(secret)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn secret(uri: &str) -> SecretRef {
        SecretRef { key: Digest::of_bytes(b"key"), name: "".into(), uri: uri.into(), from_nested_client: false }
    }

    fn provided(text: &str, until: Option<Instant>) -> ProvidedSecret {
        ProvidedSecret { plaintext: Arc::new(Plaintext::new(text.into())), until }
    }

    #[test]
    fn addresses_with_one_key_are_kept_apart() {
        let store = SecretStore::default();
        store.put(&secret("env://A"), provided("a", None));
        store.put(&secret("env://B"), provided("b", None));
        assert_eq!(store.get(&secret("env://A")).expect("is known").bytes(), b"a");
        assert_eq!(store.get(&secret("env://B")).expect("is known").bytes(), b"b");
        assert!(store.get(&secret("env://C")).is_none());
    }

    #[test]
    fn what_has_expired_is_not_known() {
        let store = SecretStore::default();
        store.put(&secret("op://a"), provided("a", Some(Instant::now())));
        assert!(store.get(&secret("op://a")).is_none());
        store.put(&secret("op://a"), provided("a", Some(Instant::now() + Duration::from_secs(60))));
        assert!(store.get(&secret("op://a")).is_some());
    }

    #[test]
    fn log_lines_are_redacted_after_every_change() {
        let store = SecretStore::default();
        let redact = |text: &str| store.redaction().map(|secrets| secrets.redact(text));
        assert_eq!(redact("first"), None);
        store.put(&secret("env://A"), provided("first", None));
        assert_eq!(redact("first second").as_deref(), Some("*** second"));
        store.put(&secret("env://B"), provided("second\t\"x\"", None));
        assert_eq!(redact(r#"first "second\t\"x\"""#).as_deref(), Some(r#"*** "***""#));
        store.put_failure(&secret("env://B"), Fault::user("gone"));
        assert_eq!(redact("first second").as_deref(), Some("*** second"));
    }

    #[tokio::test]
    async fn an_address_is_read_once_until_it_expires() {
        let store = SecretStore::default();
        let ask = async |text: &'static str, until| {
            let given = store.provided("op://a", async move { Ok(provided(text, until)) }).await.expect("is given");
            String::from_utf8_lossy(given.plaintext.bytes()).into_owned()
        };
        assert_eq!(ask("first", Some(Instant::now())).await, "first");
        assert_eq!(ask("second", None).await, "second");
        assert_eq!(ask("third", None).await, "second");
        assert!(store.provided("op://b", async { Err(Fault::user("no")) }).await.is_err());
        assert!(store.provided("op://b", async { Ok(provided("b", None)) }).await.is_ok());
    }
}
