//! The wire form of a call: an opaque, self-contained text that only the engine can write.
//!
//! `R` and the URL-safe base64 (no padding) of: one version byte, 32 bytes of a MAC over everything
//! that follows, then every distinct call of the recipe, dependencies first, each as receiver
//! reference, type, field, nth, view, module, identity, arguments, implicit inputs. References are
//! positions counted from one. Numbers are LEB128, texts are length and bytes; repeated texts are
//! references into a table that grows as texts appear. The leading `R` keeps an ID from ever being
//! all digits, which one client would print as a number.
//!
//! A recipe is evaluated for the client that loads it, with fields that no schema has, with inputs
//! that the engine found for the client that asked, and as the module that it records. So every ID
//! is sealed: the MAC covers the whole recipe and its key never leaves the engine. A client can
//! have evaluated what some client of this engine has selected, and can write or change nothing of
//! it.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rondel_digest::Digest;

use crate::recipe::{Call, CallSpec, Literal, ModuleIdentity, ModuleRef};

/// The version of IDs without a seal, which early engines wrote.
const UNSEALED: u8 = 1;
/// The version of sealed IDs.
const SEALED: u8 = 2;
/// The length of a MAC.
const MAC: usize = 32;
/// The length of what stands before the recipe.
const HEAD: usize = 1 + MAC;
/// Literals nest at most this deep; no ID of ours is deeper.
const MAX_NESTING: usize = 200;

/// Why a text is not an ID of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The text does not have the outer form of an ID.
    #[error("not an ID: `{0}`")]
    NotAnId(String),
    /// The ID was made by a version of Rondel that this one does not read.
    #[error("an ID of format {0}, which this version does not read")]
    Version(u8),
    /// The content is damaged.
    #[error("a damaged ID: {0}")]
    Damaged(&'static str),
    /// This engine did not write it, byte for byte.
    #[error("an ID that this engine did not seal: it was changed, or another engine made it")]
    Unsealed,
}

/// The key that seals wire IDs. It never leaves the engine.
#[derive(Clone)]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// The key that follows from `secret`.
    pub fn derived(secret: &[u8; 32]) -> Self {
        // Clients can have other uses of the secret sign texts of their choice, such as a secret's
        // plaintext. Such a signature must never be the seal of an ID.
        Self(rondel_digest::derived_key("rondel 2026-11 seal of wire IDs", secret))
    }

    fn mac(&self, body: &[u8]) -> Digest {
        rondel_digest::mac(&self.0, body)
    }
}

/// The wire ID of `call`, sealed with `key`.
pub fn encode(call: &Arc<Call>, key: &SealKey) -> String {
    let mut w = Writer { out: vec![0; HEAD], calls: HashMap::new(), texts: HashMap::new() };
    w.recipe(call);
    sealed(w.out, key)
}

/// The ID whose recipe is `bytes`, whatever they are: for tests of what reads recipes.
pub fn seal(bytes: &[u8], key: &SealKey) -> String {
    sealed([&[0; HEAD], bytes].concat(), key)
}

/// The ID of a recipe that follows [`HEAD`] free bytes.
fn sealed(mut bytes: Vec<u8>, key: &SealKey) -> String {
    let mac = key.mac(&bytes[HEAD..]);
    bytes[0] = SEALED;
    bytes[1..HEAD].copy_from_slice(mac.as_bytes());
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 2);
    text.push('R');
    URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
    text
}

/// The call that `id` encodes.
///
/// # Errors
/// When the text is not an ID, not one of this version, or one that `key` did not seal.
pub fn decode(id: &str, key: &SealKey) -> Result<Arc<Call>, DecodeError> {
    read(id, &|mac, body| key.mac(body).is_mac(mac))
}

/// Whether `text` has the form of an ID. That says nothing about its seal.
pub fn is_id(text: &str) -> bool {
    read(text, &|_, _| true).is_ok()
}

fn read(id: &str, is_sealed: &dyn Fn(&[u8], &[u8]) -> bool) -> Result<Arc<Call>, DecodeError> {
    let not_an_id = || DecodeError::NotAnId(id.chars().take(40).collect());
    let body = id.strip_prefix('R').ok_or_else(not_an_id)?;
    let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| not_an_id())?;
    let mut r = Reader { rest: &bytes, calls: Vec::new(), texts: Vec::new() };
    match r.byte()? {
        SEALED => {}
        UNSEALED => return Err(DecodeError::Unsealed),
        other => return Err(DecodeError::Version(other)),
    }
    let mac = r.take(MAC)?;
    if !is_sealed(mac, r.rest) {
        return Err(DecodeError::Unsealed);
    }
    while !r.rest.is_empty() {
        let call = r.call()?;
        r.calls.push(call);
    }
    r.calls.pop().ok_or(DecodeError::Damaged("it is empty"))
}

struct Writer {
    out: Vec<u8>,
    calls: HashMap<Digest, u64>,
    texts: HashMap<Arc<str>, u64>,
}

impl Writer {
    /// Writes every call that `call` needs, dependencies first, with an explicit stack.
    fn recipe(&mut self, call: &Arc<Call>) {
        let mut stack = vec![(call.clone(), false)];
        while let Some((call, ready)) = stack.pop() {
            if self.calls.contains_key(&call.digest()) {
                continue;
            }
            if ready {
                self.call(&call);
                let position = self.calls.len() as u64 + 1;
                self.calls.insert(call.digest(), position);
                continue;
            }
            stack.push((call.clone(), true));
            let mut needs = Vec::new();
            for (_, literal) in call.args() {
                literal.calls(&mut needs);
            }
            needs.extend(call.module().map(|m| m.module.clone()));
            needs.extend(call.identity().map(|identity| identity.module.module.clone()));
            needs.extend(call.receiver().cloned());
            stack.extend(needs.into_iter().map(|need| (need, false)));
        }
    }

    fn call(&mut self, call: &Call) {
        self.reference(call.receiver());
        self.text(call.returns());
        self.text(call.field());
        self.number(u64::from(call.nth()));
        match call.view() {
            None => self.out.push(0),
            Some(view) => {
                self.out.push(1);
                self.text(view);
            }
        }
        self.module(call.module());
        let identity = call.identity();
        self.module(identity.map(|identity| &identity.module));
        identity.into_iter().for_each(|identity| self.text(&identity.view));
        self.number(call.args().len() as u64);
        for (name, value) in call.args() {
            self.text(name);
            self.literal(value);
        }
        self.number(call.implicit().len() as u64);
        for (name, value) in call.implicit() {
            self.text(name);
            self.text(value);
        }
    }

    fn module(&mut self, module: Option<&ModuleRef>) {
        self.reference(module.map(|module| &module.module));
        if let Some(module) = module {
            self.out.extend_from_slice(module.implementation.as_bytes());
        }
    }

    fn literal(&mut self, literal: &Literal) {
        match literal {
            Literal::Null => self.out.push(0),
            Literal::Bool(false) => self.out.push(1),
            Literal::Bool(true) => self.out.push(2),
            Literal::Int(i) => {
                self.out.push(3);
                self.number(((i << 1) ^ (i >> 63)).cast_unsigned());
            }
            Literal::Float(x) => {
                self.out.push(4);
                self.out.extend_from_slice(&x.to_bits().to_le_bytes());
            }
            Literal::String(s) => {
                self.out.push(5);
                self.text(s);
            }
            Literal::Enum(s) => {
                self.out.push(6);
                self.text(s);
            }
            Literal::List(items) => {
                self.out.push(7);
                self.number(items.len() as u64);
                items.iter().for_each(|item| self.literal(item));
            }
            Literal::Object(fields) => {
                self.out.push(8);
                self.number(fields.len() as u64);
                for (name, value) in fields {
                    self.text(name);
                    self.literal(value);
                }
            }
            Literal::Call(call) => {
                self.out.push(9);
                self.reference(Some(call));
            }
        }
    }

    fn reference(&mut self, call: Option<&Arc<Call>>) {
        let position = call.and_then(|c| self.calls.get(&c.digest()).copied()).unwrap_or(0);
        self.number(position);
    }

    fn text(&mut self, text: &Arc<str>) {
        if let Some(&at) = self.texts.get(text) {
            self.number(at);
            return;
        }
        self.number(0);
        self.number(text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
        let at = self.texts.len() as u64 + 1;
        self.texts.insert(text.clone(), at);
    }

    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.out.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        self.out.push(n as u8);
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    calls: Vec<Arc<Call>>,
    texts: Vec<Arc<str>>,
}

impl<'a> Reader<'a> {
    fn call(&mut self) -> Result<Arc<Call>, DecodeError> {
        let receiver = self.reference()?;
        let mut spec = CallSpec::new(self.text()?, self.text()?);
        spec.nth = u32::try_from(self.number()?).map_err(|_| DecodeError::Damaged("a list position is too large"))?;
        spec.view = match self.byte()? {
            0 => None,
            _ => Some(self.text()?),
        };
        spec.module = self.module()?;
        if let Some(module) = self.module()? {
            spec.identity = Some(Arc::new(ModuleIdentity { module, view: self.text()? }));
        }
        for _ in 0..self.count()? {
            let name = self.text()?;
            spec.args.push((name, self.literal(0)?));
        }
        for _ in 0..self.count()? {
            let (name, value) = (self.text()?, self.text()?);
            spec.implicit.push((name, value));
        }
        Ok(Call::new(receiver, spec))
    }

    fn module(&mut self) -> Result<Option<ModuleRef>, DecodeError> {
        let Some(module) = self.reference()? else { return Ok(None) };
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.take(32)?);
        Ok(Some(ModuleRef { module, implementation: Digest::from_bytes(bytes) }))
    }

    fn literal(&mut self, depth: usize) -> Result<Literal, DecodeError> {
        if depth > MAX_NESTING {
            return Err(DecodeError::Damaged("a value is nested too deeply"));
        }
        Ok(match self.byte()? {
            0 => Literal::Null,
            1 => Literal::Bool(false),
            2 => Literal::Bool(true),
            3 => {
                let n = self.number()?;
                Literal::Int((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
            }
            4 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                Literal::Float(f64::from_bits(u64::from_le_bytes(bytes)))
            }
            5 => Literal::String(self.text()?),
            6 => Literal::Enum(self.text()?),
            7 => {
                let n = self.count()?;
                Literal::List((0..n).map(|_| self.literal(depth + 1)).collect::<Result<_, _>>()?)
            }
            8 => {
                let n = self.count()?;
                let field = |r: &mut Self| Ok((r.text()?, r.literal(depth + 1)?));
                Literal::Object((0..n).map(|_| field(self)).collect::<Result<_, DecodeError>>()?)
            }
            9 => Literal::Call(self.reference()?.ok_or(DecodeError::Damaged("an argument is missing"))?),
            _ => return Err(DecodeError::Damaged("a value of an unknown kind")),
        })
    }

    fn reference(&mut self) -> Result<Option<Arc<Call>>, DecodeError> {
        let at = self.number()?;
        if at == 0 {
            return Ok(None);
        }
        let found = usize::try_from(at - 1).ok().and_then(|at| self.calls.get(at));
        found.cloned().map(Some).ok_or(DecodeError::Damaged("a reference to a call that is not there"))
    }

    fn text(&mut self) -> Result<Arc<str>, DecodeError> {
        let at = self.number()?;
        if at > 0 {
            let found = usize::try_from(at - 1).ok().and_then(|at| self.texts.get(at));
            return found.cloned().ok_or(DecodeError::Damaged("a reference to a text that is not there"));
        }
        let len = self.count()?;
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| DecodeError::Damaged("a text is not UTF-8"))?;
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        Ok(text)
    }

    /// A count of things of at least one byte each: never more than what is left.
    fn count(&mut self) -> Result<usize, DecodeError> {
        let n = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if n > self.rest.len() { Err(DecodeError::Damaged("it is cut short")) } else { Ok(n) }
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(DecodeError::Damaged("a number is too long"))
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Damaged("it is cut short"))?;
        self.rest = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recipe::tests::identity;

    fn literal() -> impl Strategy<Value = Literal> {
        let leaf = prop_oneof![
            Just(Literal::Null),
            any::<bool>().prop_map(Literal::Bool),
            any::<i64>().prop_map(Literal::Int),
            (-1e9..1e9).prop_map(Literal::Float),
            ".*".prop_map(|s| Literal::String(s.into())),
            "[A-Z_]{1,8}".prop_map(|s| Literal::Enum(s.into())),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|v| Literal::List(v.into())),
                prop::collection::vec(("[a-z]{1,4}", inner), 0..4)
                    .prop_map(|v| Literal::Object(v.into_iter().map(|(k, v)| (k.into(), v)).collect())),
            ]
        })
    }

    fn key() -> SealKey {
        SealKey::derived(&[7; 32])
    }

    fn acting(receiver: Option<Arc<Call>>, word: &str) -> Arc<Call> {
        let mut spec = CallSpec::new("Container", "withExec").arg("args", Literal::String(word.into()));
        spec.args.push((crate::NESTING.into(), Literal::Bool(true)));
        spec.act_as(Some(&identity("m", "v0.18.10")));
        Call::new(receiver, spec)
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(
            value in literal(),
            nth in 0u32..9,
            view in prop::option::of("v[0-9]"),
            acts in any::<bool>(),
        ) {
            let object = Call::new(None, CallSpec::new("File", "file").arg("name", Literal::String("x".into())));
            let mut spec = CallSpec::new("Directory", "withFile").arg("source", Literal::Call(object.clone())).arg("v", value);
            spec.nth = nth;
            spec.view = view.map(Into::into);
            spec.implicit.push(("session".into(), "s".into()));
            spec.module = Some(ModuleRef { module: object.clone(), implementation: Digest::of_bytes(b"m") });
            spec.identity = acts.then(|| identity("m", "v0.18.10"));
            let call = Call::new(Some(object), spec);
            let id = encode(&call, &key());
            let again = decode(&id, &key()).expect("decodes");
            prop_assert_eq!(again.digest(), call.digest());
            prop_assert_eq!(again.spec(), call.spec());
            prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        }

        #[test]
        fn no_text_makes_it_panic(text in "R[A-Za-z0-9_-]{0,200}") {
            let _ = decode(&text, &key());
            let _ = is_id(&text);
            let _ = decode(&seal(text.as_bytes(), &key()), &key());
        }

        #[test]
        fn no_byte_of_a_sealed_id_can_be_changed(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
            let call = Call::new(Some(acting(None, "a")), CallSpec::new("Directory", "rootfs"));
            let mut bytes = URL_SAFE_NO_PAD.decode(&encode(&call, &key())[1..]).expect("base64");
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let changed = format!("R{}", URL_SAFE_NO_PAD.encode(bytes));
            prop_assert!(decode(&changed, &key()).is_err());
        }
    }

    #[test]
    fn foreign_ids_are_refused_with_their_text() {
        let refused = |id: &str| decode(id, &key()).expect_err("refused");
        assert_eq!(refused("EoIBCg"), DecodeError::NotAnId("EoIBCg".into()));
        assert_eq!(refused("R"), DecodeError::Damaged("it is cut short"));
        assert_eq!(refused("RCQ"), DecodeError::Version(9));
    }

    #[test]
    fn what_this_engine_did_not_seal_is_refused() {
        let plain = |word: &str| acting(None, word).acting_as(None);
        for [mine, other] in [[acting(None, "a"), acting(None, "b")], [plain("a"), plain("b")]] {
            let id = encode(&mine, &key());
            assert_eq!(decode(&id, &key()).expect("decodes").spec(), mine.spec());
            assert_eq!(decode(&id, &SealKey::derived(&[8; 32])), Err(DecodeError::Unsealed));
            let [body, other] =
                [&id, &encode(&other, &key())].map(|id| URL_SAFE_NO_PAD.decode(&id[1..]).expect("base64"));
            // The seal of another recipe, a seal of zeros, and a version without a seal.
            for head in [&other[..HEAD], &[&[SEALED][..], &[0; MAC]].concat()[..], &[UNSEALED][..]] {
                let forged = format!("R{}", URL_SAFE_NO_PAD.encode([head, &body[HEAD..]].concat()));
                assert_eq!(decode(&forged, &key()), Err(DecodeError::Unsealed));
            }
        }
    }

    #[test]
    fn damaged_recipes_are_refused() {
        let read = |bytes: &[u8]| decode(&seal(bytes, &key()), &key());
        assert_eq!(read(&[]), Err(DecodeError::Damaged("it is empty")));
        assert_eq!(read(&[9]), Err(DecodeError::Damaged("a reference to a call that is not there")));
        let whole = URL_SAFE_NO_PAD.decode(&encode(&acting(None, "a"), &key())[1..]).expect("base64");
        assert_eq!(read(&whole[HEAD..]).expect("decodes").digest(), acting(None, "a").digest());
        // One that ends early is damaged, or ends behind the recipe of the module.
        for end in 1..whole.len() - HEAD {
            let cut = read(&whole[HEAD..HEAD + end]);
            assert!(cut.as_ref().map_or(true, |call| &**call.returns() == "Module"), "{end} {cut:?}");
        }
    }
}
