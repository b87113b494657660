//! Stable hashing of structured data: a serde serializer that feeds BLAKE3.
//!
//! The layout, so that it can be written again elsewhere. Every value starts with one tag byte.
//! Integers are the tag `i` (signed) or `u` (unsigned) and 16 bytes, little endian; a float is `f`
//! and its 8 bits-as-bytes; a boolean is `b` and one byte; text is `s`, bytes are `y`, each
//! followed by the length (8 bytes, little endian) and the content; none and unit are `0`; some is
//! `1` and the value; a sequence or tuple is `[`, its items, `]`; a map is `{`, keys and values in
//! the order of their hashed keys, `}`; a struct is `(`, then per field its name as text and its
//! value, `)`; an enum variant is `v`, its name as text, and its content as if it were a struct, a
//! sequence or a value. Lengths and end marks make the layout free of ambiguities.

use serde::ser::{self, Serialize};

use crate::Digest;

/// The digest of `value` under `domain`, which keeps equal data of different kinds apart.
///
/// # Panics
/// When the `Serialize` implementation of `value` reports an error of its own; derived ones do not.
pub fn of<T: Serialize + ?Sized>(domain: &str, value: &T) -> Digest {
    let mut hasher = Hasher::new(domain);
    hasher.value(value);
    hasher.finish()
}

/// An incremental hasher with the same layout, for data that does not exist as one value.
#[derive(Clone)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// A hasher for one kind of thing, named by `domain`.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.text(b's', domain.as_bytes());
        hasher
    }

    /// Adds one value.
    ///
    /// # Panics
    /// When the `Serialize` implementation of `value` reports an error of its own.
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> &mut Self {
        #[expect(clippy::expect_used, reason = "the sink cannot fail; see # Panics")]
        value.serialize(Sink(&mut self.0)).expect("hashing cannot fail");
        self
    }

    /// Adds bytes as one value.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.text(b'y', bytes);
        self
    }

    /// The digest of all that was added.
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }

    fn text(&mut self, tag: u8, bytes: &[u8]) {
        text(&mut self.0, tag, bytes);
    }
}

fn text(h: &mut blake3::Hasher, tag: u8, bytes: &[u8]) {
    let mut head = [tag, 0, 0, 0, 0, 0, 0, 0, 0];
    head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    h.update(&head);
    h.update(bytes);
}

/// The error of a sink that never fails: only a custom `Serialize` can make one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HashError(String);

impl ser::Error for HashError {
    fn custom<T: std::fmt::Display>(msg: T) -> Self {
        Self(msg.to_string())
    }
}

struct Sink<'a>(&'a mut blake3::Hasher);

impl Sink<'_> {
    fn int(self, tag: u8, v: i128) -> Result<(), HashError> {
        self.0.update(&[tag]);
        self.0.update(&v.to_le_bytes());
        Ok(())
    }
}

/// A sequence, struct or variant that is being hashed, with its end mark.
struct Open<'a>(&'a mut blake3::Hasher, u8);

/// A map that is being hashed: entries are sorted by the digest of their key.
struct OpenMap<'a>(&'a mut blake3::Hasher, Vec<(Digest, Digest)>, Option<Digest>);

macro_rules! ints {
    ($($name:ident $t:ty, $tag:literal;)*) => {$(
        fn $name(self, v: $t) -> Result<(), HashError> { self.int($tag, v as i128) }
    )*};
}

impl<'a> ser::Serializer for Sink<'a> {
    type Ok = ();
    type Error = HashError;
    type SerializeSeq = Open<'a>;
    type SerializeTuple = Open<'a>;
    type SerializeTupleStruct = Open<'a>;
    type SerializeTupleVariant = Open<'a>;
    type SerializeMap = OpenMap<'a>;
    type SerializeStruct = Open<'a>;
    type SerializeStructVariant = Open<'a>;

    ints! {
        serialize_i8 i8, b'i'; serialize_i16 i16, b'i'; serialize_i32 i32, b'i'; serialize_i64 i64, b'i';
        serialize_i128 i128, b'i';
        serialize_u8 u8, b'u'; serialize_u16 u16, b'u'; serialize_u32 u32, b'u'; serialize_u64 u64, b'u';
    }

    fn serialize_bool(self, v: bool) -> Result<(), HashError> {
        self.0.update(&[b'b', u8::from(v)]);
        Ok(())
    }

    fn serialize_f32(self, v: f32) -> Result<(), HashError> {
        self.serialize_f64(f64::from(v))
    }

    fn serialize_f64(self, v: f64) -> Result<(), HashError> {
        self.0.update(b"f");
        self.0.update(&v.to_bits().to_le_bytes());
        Ok(())
    }

    fn serialize_char(self, v: char) -> Result<(), HashError> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<(), HashError> {
        text(self.0, b's', v.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), HashError> {
        text(self.0, b'y', v);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), HashError> {
        self.0.update(b"0");
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, v: &T) -> Result<(), HashError> {
        self.0.update(b"1");
        v.serialize(Sink(self.0))
    }

    fn serialize_unit(self) -> Result<(), HashError> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), HashError> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), HashError> {
        text(self.0, b'v', variant.as_bytes());
        self.0.update(b"0");
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, v: &T) -> Result<(), HashError> {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        v: &T,
    ) -> Result<(), HashError> {
        text(self.0, b'v', variant.as_bytes());
        v.serialize(Sink(self.0))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'a>, HashError> {
        self.0.update(b"[");
        Ok(Open(self.0, b']'))
    }

    fn serialize_tuple(self, len: usize) -> Result<Open<'a>, HashError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Open<'a>, HashError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Open<'a>, HashError> {
        text(self.0, b'v', variant.as_bytes());
        self.serialize_seq(Some(len))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<OpenMap<'a>, HashError> {
        Ok(OpenMap(self.0, Vec::new(), None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Open<'a>, HashError> {
        self.0.update(b"(");
        Ok(Open(self.0, b')'))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Open<'a>, HashError> {
        text(self.0, b'v', variant.as_bytes());
        self.serialize_struct(name, len)
    }
}

macro_rules! open_items {
    ($($trait:ident $method:ident),*) => {$(
        impl ser::$trait for Open<'_> {
            type Ok = ();
            type Error = HashError;
            fn $method<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), HashError> {
                v.serialize(Sink(self.0))
            }
            fn end(self) -> Result<(), HashError> {
                self.0.update(&[self.1]);
                Ok(())
            }
        }
    )*};
}
open_items!(SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field);

macro_rules! open_fields {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Open<'_> {
            type Ok = ();
            type Error = HashError;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, v: &T) -> Result<(), HashError> {
                text(self.0, b's', key.as_bytes());
                v.serialize(Sink(self.0))
            }
            fn end(self) -> Result<(), HashError> {
                self.0.update(&[self.1]);
                Ok(())
            }
        }
    )*};
}
open_fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for OpenMap<'_> {
    type Ok = ();
    type Error = HashError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), HashError> {
        self.2 = Some(of("key", key));
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), HashError> {
        if let Some(key) = self.2.take() {
            self.1.push((key, of("value", value)));
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), HashError> {
        self.1.sort_unstable();
        self.0.update(b"{");
        for (key, value) in &self.1 {
            self.0.update(key.as_bytes());
            self.0.update(value.as_bytes());
        }
        self.0.update(b"}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    enum Op {
        Unit,
        One(&'static str),
        Two { a: u8, b: Option<&'static str> },
    }

    #[test]
    fn different_data_hash_differently() {
        let all = [
            of("d", &Op::Unit),
            of("d", &Op::One("x")),
            of("d", &Op::Two { a: 1, b: None }),
            of("d", &Op::Two { a: 1, b: Some("") }),
            of("e", &Op::Unit),
            of("d", &["ab", "c"]),
            of("d", &["a", "bc"]),
            of("d", &vec![vec!["a"], vec![]]),
            of("d", &vec![vec![], vec!["a"]]),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn map_order_does_not_matter() {
        let a: HashMap<_, _> = [("x", 1), ("y", 2)].into();
        let b: HashMap<_, _> = [("y", 2), ("x", 1)].into();
        assert_eq!(of("m", &a), of("m", &b));
    }

    #[test]
    fn the_layout_does_not_drift() {
        assert_eq!(of("pin", &("a", 1u8, true)).hex(), PIN);
    }

    const PIN: &str = "8e0ce5be00543950ab32f9c20cd60433a99ad89f720d324938ea39b2e9f8a658";
}
