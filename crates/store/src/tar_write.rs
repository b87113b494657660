//! Writing tar archives: ustar headers, and pax records for what does not fit.

use std::io::{self, Write};

use crate::sys::Time;

const BLOCK: usize = 512;

/// What goes into the header of one entry.
#[derive(Debug, Default)]
pub(crate) struct Header<'a> {
    pub(crate) name: Vec<u8>,
    /// The type byte.
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    pub(crate) link: &'a [u8],
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(&'a [u8], &'a [u8])>,
}

/// Writes the header of an entry; its content and [`pad`] follow.
pub(crate) fn write_header(out: &mut impl Write, header: &Header<'_>) -> io::Result<()> {
    let mut pax = Vec::new();
    let mut block = [0u8; BLOCK];
    put_text(&mut block[..100], &header.name, "path", &mut pax);
    put_text(&mut block[157..257], header.link, "linkpath", &mut pax);
    put_number(&mut block[108..116], u64::from(header.uid), "uid", &mut pax);
    put_number(&mut block[116..124], u64::from(header.gid), "gid", &mut pax);
    put_number(&mut block[124..136], header.size, "size", &mut pax);
    let (seconds, nanos) = header.mtime;
    if seconds < 0 || nanos != 0 {
        pax.push(("mtime".as_bytes().to_vec(), time_text(header.mtime).into_bytes()));
    }
    put_number(&mut block[136..148], seconds.max(0).cast_unsigned(), "mtime", &mut pax);
    put_octal(&mut block[100..108], u64::from(header.mode));
    put_octal(&mut block[329..337], u64::from(header.device.0));
    put_octal(&mut block[337..345], u64::from(header.device.1));
    for (key, value) in &header.xattrs {
        pax.push(([b"SCHILY.xattr.".as_slice(), key].concat(), value.to_vec()));
    }
    if !pax.is_empty() {
        write_pax(out, &pax)?;
    }
    write_block(out, block, header.kind)
}

/// Fills the last block after `size` bytes of content.
pub(crate) fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let left = size.next_multiple_of(BLOCK as u64) - size;
    out.write_all(&[0u8; BLOCK][..left as usize])
}

/// Writes the end of the archive.
pub(crate) fn finish(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0u8; 2 * BLOCK])
}

fn write_pax(out: &mut impl Write, records: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    let mut body = Vec::new();
    for (key, value) in records {
        let bare = key.len() + value.len() + 3;
        let mut length = bare + 1;
        while length != bare + length.to_string().len() {
            length = bare + length.to_string().len();
        }
        write!(body, "{length} ")?;
        body.extend_from_slice(key);
        body.push(b'=');
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    let mut block = [0u8; BLOCK];
    block[..16].copy_from_slice(b"PaxHeaders/entry");
    put_octal(&mut block[100..108], 0o644);
    put_octal(&mut block[108..116], 0);
    put_octal(&mut block[116..124], 0);
    put_octal(&mut block[124..136], body.len() as u64);
    put_octal(&mut block[136..148], 0);
    write_block(out, block, b'x')?;
    out.write_all(&body)?;
    pad(out, body.len() as u64)
}

fn write_block(out: &mut impl Write, mut block: [u8; BLOCK], kind: u8) -> io::Result<()> {
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    let text = format!("{sum:06o}\0 ");
    block[148..156].copy_from_slice(text.as_bytes());
    out.write_all(&block)
}

fn put_text(field: &mut [u8], text: &[u8], key: &str, pax: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    let fits = text.len().min(field.len());
    field[..fits].copy_from_slice(&text[..fits]);
    if text.len() > field.len() || !text.is_ascii() {
        pax.push((key.as_bytes().to_vec(), text.to_vec()));
    }
}

fn put_number(field: &mut [u8], value: u64, key: &str, pax: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    if value >> (3 * (field.len() - 1)) == 0 {
        return put_octal(field, value);
    }
    put_octal(field, 0);
    if !pax.iter().any(|(found, _)| found == key.as_bytes()) {
        pax.push((key.as_bytes().to_vec(), value.to_string().into_bytes()));
    }
}

fn put_octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    field[..digits].copy_from_slice(&text.as_bytes()[text.len() - digits..]);
}

fn time_text((seconds, nanos): Time) -> String {
    if nanos == 0 {
        return seconds.to_string();
    }
    let (sign, seconds, nanos) =
        if seconds < 0 { ("-", -(seconds + 1), 1_000_000_000 - nanos) } else { ("", seconds, nanos) };
    format!("{sign}{seconds}.{nanos:09}").trim_end_matches('0').to_owned()
}
