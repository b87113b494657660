//! Reading tar archives as they occur in images: POSIX ustar and pax, GNU long names, GNU and pax
//! sparse files, numbers in base 256. Own code, because values of pax records are bytes: they may
//! hold newlines and zeros.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::sys::Time;

const BLOCK: usize = 512;
/// Records before one entry (long names, pax headers) are bounded by this.
const META_LIMIT: u64 = 4 << 20;

/// What an archive entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TarEntryKind {
    File,
    Dir,
    Symlink,
    /// A further name of an entry of the same archive.
    HardLink,
    Fifo,
    Char,
    Block,
    /// Something that images do not have, by its type byte.
    Other(u8),
}

/// One entry of an archive.
#[derive(Debug)]
pub(crate) struct TarEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: TarEntryKind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: Time,
    pub(crate) device: (u32, u32),
    /// The size that the file has in the end.
    pub(crate) size: u64,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The data ranges of a sparse file, as offset and length. `None` for an ordinary file.
    pub(crate) parts: Option<Vec<(u64, u64)>>,
}

/// An archive that is being read.
pub(crate) struct Archive<R> {
    inner: R,
    /// Bytes of the current entry that have not been read, and the padding after them.
    left: u64,
    padding: u64,
    done: bool,
}

fn bad(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0, done: false }
    }

    /// What was read from.
    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry; none at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<TarEntry>> {
        let mut pax = BTreeMap::new();
        let mut sparse_pairs = Vec::new();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header[124..136])?;
            match header[156] {
                b'x' => (pax, sparse_pairs) = parse_pax(&self.meta(size)?)?,
                b'g' => drop(self.meta(size)?),
                b'L' => long_name = Some(until_zero(&self.meta(size)?).to_vec()),
                b'K' => long_link = Some(until_zero(&self.meta(size)?).to_vec()),
                _ => {
                    let mut entry = self.entry(&header, size, &pax, &sparse_pairs)?;
                    if let Some(name) = long_name.filter(|_| !pax.contains_key(b"path".as_slice())) {
                        entry.name = name;
                    }
                    if let Some(link) = long_link.filter(|_| !pax.contains_key(b"linkpath".as_slice())) {
                        entry.link = link;
                    }
                    return Ok(Some(entry));
                }
            }
        }
    }

    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        if self.done {
            return Ok(None);
        }
        let mut block = [0u8; BLOCK];
        let got = fill(&mut self.inner, &mut block)?;
        if got == 0 || (got == BLOCK && block.iter().all(|b| *b == 0)) {
            self.done = true;
            return Ok(None);
        }
        if got < BLOCK {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle of a header"));
        }
        let want = number(&block[148..156])?;
        let sum: u64 =
            block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
        if want != sum {
            return Err(bad("a header of the archive has a wrong checksum"));
        }
        Ok(Some(block))
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        stored: u64,
        pax: &BTreeMap<Vec<u8>, Vec<u8>>,
        pairs: &[(u64, u64)],
    ) -> io::Result<TarEntry> {
        let text = |key: &str| pax.get(key.as_bytes()).map(Vec::as_slice);
        let stored = text("size").map(decimal).transpose()?.unwrap_or(stored);
        let type_byte = header[156];
        let has_data = matches!(type_byte, b'0' | 0 | b'7' | b'S') || !matches!(type_byte, b'1'..=b'6');
        self.expect(if has_data { stored } else { 0 });
        let mut entry = TarEntry {
            name: text("path").map_or_else(|| header_name(header), <[u8]>::to_vec),
            link: text("linkpath").unwrap_or_else(|| until_zero(&header[157..257])).to_vec(),
            kind: TarEntryKind::Other(type_byte),
            mode: (number(&header[100..108])? & 0o7777) as u32,
            uid: text("uid").map_or_else(|| number(&header[108..116]), decimal)?,
            gid: text("gid").map_or_else(|| number(&header[116..124]), decimal)?,
            mtime: text("mtime").map_or_else(|| signed(&header[136..148]).map(|s| (s, 0)), fraction)?,
            device: (0, 0),
            size: stored,
            xattrs: pax
                .iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.clone())))
                .collect(),
            parts: None,
        };
        entry.kind = match type_byte {
            b'0' | 0 | b'7' if entry.name.ends_with(b"/") => TarEntryKind::Dir,
            b'0' | 0 | b'7' => TarEntryKind::File,
            b'1' => TarEntryKind::HardLink,
            b'2' => TarEntryKind::Symlink,
            b'3' => TarEntryKind::Char,
            b'4' => TarEntryKind::Block,
            b'5' => TarEntryKind::Dir,
            b'6' => TarEntryKind::Fifo,
            b'S' => TarEntryKind::File,
            other => TarEntryKind::Other(other),
        };
        if matches!(entry.kind, TarEntryKind::Char | TarEntryKind::Block) {
            let part = |at: usize| number(&header[at..at + 8]).map(|n| n as u32);
            entry.device = (part(329)?, part(337)?);
        }
        match type_byte {
            b'S' => self.gnu_sparse(header, &mut entry)?,
            _ if entry.kind == TarEntryKind::File => self.pax_sparse(pax, pairs, &mut entry)?,
            _ => {}
        }
        Ok(entry)
    }

    fn gnu_sparse(&mut self, header: &[u8; BLOCK], entry: &mut TarEntry) -> io::Result<()> {
        let mut parts = Vec::new();
        collect_parts(&header[386..386 + 4 * 24], &mut parts)?;
        entry.size = number(&header[483..495])?;
        let mut more = header[482] != 0;
        while more {
            let mut block = [0u8; BLOCK];
            self.inner.read_exact(&mut block)?;
            collect_parts(&block[..21 * 24], &mut parts)?;
            more = block[504] != 0;
            if parts.len() > 1 << 20 {
                return Err(bad("a sparse file of the archive has too many parts"));
            }
        }
        entry.parts = Some(parts);
        Ok(())
    }

    fn pax_sparse(
        &mut self,
        pax: &BTreeMap<Vec<u8>, Vec<u8>>,
        pairs: &[(u64, u64)],
        entry: &mut TarEntry,
    ) -> io::Result<()> {
        let text = |key: &str| pax.get(key.as_bytes()).map(Vec::as_slice);
        let real = text("GNU.sparse.realsize").or_else(|| text("GNU.sparse.size"));
        let Some(real) = real else { return Ok(()) };
        entry.size = decimal(real)?;
        if let Some(name) = text("GNU.sparse.name") {
            entry.name = name.to_vec();
        }
        if text("GNU.sparse.major") == Some(b"1") {
            entry.parts = Some(self.sparse_map()?);
        } else if let Some(map) = text("GNU.sparse.map") {
            let numbers = map.split(|b| *b == b',').filter(|n| !n.is_empty()).map(decimal);
            let numbers = numbers.collect::<io::Result<Vec<u64>>>()?;
            entry.parts = Some(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect());
        } else {
            entry.parts = Some(pairs.to_vec());
        }
        Ok(())
    }

    /// The map that precedes the content of a sparse file: a count, then offsets and lengths, one
    /// number a line.
    fn sparse_map(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let mut block = [0u8; BLOCK];
        let mut at = BLOCK;
        let mut next = |archive: &mut Self| -> io::Result<u64> {
            let mut digits = Vec::new();
            loop {
                if at == BLOCK {
                    if archive.left < BLOCK as u64 {
                        return Err(bad("the map of a sparse file is cut off"));
                    }
                    archive.inner.read_exact(&mut block)?;
                    archive.left -= BLOCK as u64;
                    at = 0;
                }
                let byte = block[at];
                at += 1;
                match byte {
                    b'\n' => return decimal(&digits),
                    _ if digits.len() < 20 => digits.push(byte),
                    _ => return Err(bad("the map of a sparse file holds no numbers")),
                }
            }
        };
        let count = next(self)?;
        if count > 1 << 20 {
            return Err(bad("a sparse file of the archive has too many parts"));
        }
        (0..count).map(|_| Ok((next(self)?, next(self)?))).collect()
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    fn meta(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > META_LIMIT {
            return Err(bad("a name or attribute of the archive is too long"));
        }
        self.expect(size);
        let mut bytes = vec![0u8; size as usize];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self) -> io::Result<()> {
        let left = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut self.inner).take(left), &mut io::sink())?;
        if skipped < left {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle of an entry"));
        }
        Ok(())
    }
}

/// Reads the stored content of the current entry.
impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let got = self.inner.read(&mut buffer[..want])?;
        if got == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle of an entry"));
        }
        self.left -= got as u64;
        Ok(got)
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
}

fn header_name(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_zero(&header[..100]);
    let prefix = if &header[257..263] == b"ustar\0" { until_zero(&header[345..500]) } else { b"" };
    crate::scan::join(prefix, name)
}

/// A number field: octal text, or big-endian base 256 when the first bit is set.
fn number(field: &[u8]) -> io::Result<u64> {
    u64::try_from(signed(field)?).map_err(|_| bad("a header of the archive holds a negative number"))
}

fn signed(field: &[u8]) -> io::Result<i64> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let start: i128 = if negative { -1 } else { 0 };
        let first = i128::from(if negative { field[0] } else { field[0] & 0x7f });
        let first = if negative { first - 256 } else { first };
        let value = field[1..].iter().fold(if negative { first } else { start + first }, |value, b| {
            value.wrapping_mul(256).wrapping_add(i128::from(*b))
        });
        return i64::try_from(value).map_err(|_| bad("a number in a header of the archive is too large"));
    }
    let text = until_zero(field);
    let text = text.trim_ascii();
    text.iter().try_fold(0i64, |value, b| match b {
        b'0'..=b'7' => Ok(value * 8 + i64::from(b - b'0')),
        _ => Err(bad("a header of the archive holds no octal number")),
    })
}

fn decimal(text: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    text.ok_or_else(|| bad("a pax record of the archive holds no number"))
}

/// Seconds with an optional fraction, possibly negative.
fn fraction(text: &[u8]) -> io::Result<Time> {
    let wrong = || bad("a pax record of the archive holds no time");
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| wrong())?;
    let digits: String = part.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().map_err(|_| wrong())?;
    if whole.starts_with('-') && nanos > 0 {
        return Ok((seconds - 1, 1_000_000_000 - nanos));
    }
    Ok((seconds, nanos))
}

type Pax = (BTreeMap<Vec<u8>, Vec<u8>>, Vec<(u64, u64)>);

/// Records of the form `length key=value\n`. The repeated keys of the oldest sparse form are
/// collected apart.
fn parse_pax(mut bytes: &[u8]) -> io::Result<Pax> {
    let wrong = || bad("a pax header of the archive is malformed");
    let mut records = BTreeMap::new();
    let mut pairs: Vec<(u64, u64)> = Vec::new();
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().position(|b| *b == b' ').ok_or_else(wrong)?;
        let length = decimal(&bytes[..space]).map_err(|_| wrong())? as usize;
        if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(wrong());
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(wrong)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"GNU.sparse.offset" => pairs.push((decimal(value)?, 0)),
            b"GNU.sparse.numbytes" => pairs.last_mut().ok_or_else(wrong)?.1 = decimal(value)?,
            _ if value.is_empty() => drop(records.remove(key)),
            _ => drop(records.insert(key.to_vec(), value.to_vec())),
        }
        bytes = &bytes[length..];
    }
    Ok((records, pairs))
}

fn collect_parts(field: &[u8], parts: &mut Vec<(u64, u64)>) -> io::Result<()> {
    for pair in field.chunks_exact(24).take_while(|pair| pair[0] != 0) {
        parts.push((number(&pair[..12])?, number(&pair[12..])?));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_every_form() {
        let check = |field: &[u8], want: i64| assert_eq!(signed(field).unwrap(), want, "{field:?}");
        check(b"0000644\0", 0o644);
        check(b"     12 ", 0o12);
        check(&[0x80, 0, 0, 0, 0, 1, 0, 0], 1 << 16);
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], -2);
        check(b"\0\0\0\0\0\0\0\0", 0);
        assert!(signed(b"0000x44\0").is_err());
    }

    #[test]
    fn pax_values_are_bytes() {
        let record = b"30 SCHILY.xattr.user.a=1\n2\x003\xff\n";
        assert_eq!(record.len(), 30);
        let (records, _) = parse_pax(record).unwrap();
        assert_eq!(records[b"SCHILY.xattr.user.a".as_slice()], b"1\n2\x003\xff");
        for wrong in ["9 a=b\n", "x a=b\n", "6 ab\n", "0 a=b\n"] {
            assert!(parse_pax(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times() {
        let check = |text: &str, want: Time| assert_eq!(fraction(text.as_bytes()).unwrap(), want, "{text}");
        check("12", (12, 0));
        check("12.5", (12, 500_000_000));
        check("12.1234567891", (12, 123_456_789));
        check("-1.25", (-2, 750_000_000));
        check("-0.25", (-1, 750_000_000));
    }
}
