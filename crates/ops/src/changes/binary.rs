//! Git binary patches: deflated data in lines of base 85, either the whole content or a delta to
//! the old one.
//!
//! Patches are untrusted input. Unpacked data stays within the size that the patch states, and that
//! size stays below [`MAX_BYTES`].

use std::io::{Read as _, Write as _};

use diffy::binary::{BinaryBlock, BinaryBlockKind, BinaryData};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use rondel_fault::{Attempt, Result};

/// The largest content that a patch may make of a binary file.
const MAX_BYTES: u64 = 2 << 30;

/// The most bytes in one line.
const MAX_LINE_BYTES: usize = 52;

/// The digits of git's base 85.
const DIGITS: &[u8; 85] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

/// Encodes bytes as a `literal` of a git binary patch: their size, then the deflated bytes in base
/// 85.
pub(super) fn literal(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).attempt(|| "pack a binary file".into())?;
    let packed = packed.finish().attempt(|| "pack a binary file".into())?;
    let mut out = format!("literal {}\n", bytes.len()).into_bytes();
    encode(&packed, &mut out);
    out.push(b'\n');
    Ok(out)
}

/// Encodes bytes as lines of at most 52 bytes, each with its length in front of the base 85 digits.
fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for line in bytes.chunks(MAX_LINE_BYTES) {
        let length = u8::try_from(line.len()).unwrap_or(0);
        out.push(if length <= 26 { b'A' + length - 1 } else { b'a' + length - 27 });
        for group in line.chunks(4) {
            let mut word = [0; 4];
            word[..group.len()].copy_from_slice(group);
            let mut number = u32::from_be_bytes(word);
            let mut digits = [0; 5];
            for digit in digits.iter_mut().rev() {
                *digit = DIGITS[(number % 85) as usize];
                number /= 85;
            }
            out.extend_from_slice(&digits);
        }
        out.push(b'\n');
    }
}

/// Applies `block` to `old`. The error says why it cannot be applied.
pub(super) fn apply(block: &BinaryBlock<'_>, old: &[u8]) -> Result<Vec<u8>, String> {
    let data = unpack(&block.data)?;
    match block.kind {
        BinaryBlockKind::Literal => Ok(data),
        BinaryBlockKind::Delta => delta(old, &data),
    }
}

fn unpack(data: &BinaryData<'_>) -> Result<Vec<u8>, String> {
    let size = bounded(data.size)?;
    let packed = decode(data.data).ok_or("its binary data is no base 85")?;
    let mut unpacked = Vec::new();
    // Reads one byte more than stated, so that a longer or endless stream is detected.
    ZlibDecoder::new(&packed[..])
        .take(data.size + 1)
        .read_to_end(&mut unpacked)
        .map_err(|e| format!("its binary data is damaged: {e}"))?;
    if unpacked.len() != size {
        return Err(format!("its binary data does not have the {size} bytes that it states"));
    }
    Ok(unpacked)
}

/// Checks a stated size against the limit.
fn bounded(size: u64) -> Result<usize, String> {
    let within = usize::try_from(size).ok().filter(|_| size <= MAX_BYTES);
    within.ok_or_else(|| format!("it makes a file of {size} bytes, more than {MAX_BYTES}"))
}

/// The bytes in lines of base 85. The last group of a line is filled up to five digits.
fn decode(lines: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(lines.len() / 5 * 4);
    for line in lines.split(|byte| *byte == b'\n') {
        let Some((length, digits)) = line.strip_suffix(b"\r").unwrap_or(line).split_first() else { continue };
        let length = match length {
            b'A'..=b'Z' => usize::from(length - b'A') + 1,
            b'a'..=b'z' => usize::from(length - b'a') + 27,
            _ => return None,
        };
        let (groups, rest) = digits.as_chunks::<5>();
        if !rest.is_empty() || groups.len() != length.div_ceil(4) {
            return None;
        }
        let end = out.len() + length;
        for group in groups {
            let number = group.iter().try_fold(0_u64, |number, digit| {
                Some(number * 85 + DIGITS.iter().position(|known| known == digit)? as u64)
            })?;
            out.extend(u32::try_from(number).ok()?.to_be_bytes());
        }
        out.truncate(end);
    }
    Some(out)
}

/// Applies a git delta to `old`: its instructions copy ranges of `old` or insert literal bytes.
fn delta(old: &[u8], mut delta: &[u8]) -> Result<Vec<u8>, String> {
    let cut = || "its delta is cut off".to_owned();
    let was = size(&mut delta).ok_or_else(cut)?;
    let is = bounded(size(&mut delta).ok_or_else(cut)?)?;
    if was != old.len() as u64 {
        return Err(format!("it was made for a file of {was} bytes, and this one has {}", old.len()));
    }
    let mut new = Vec::new();
    while let Some(control) = byte(&mut delta) {
        let part = if control & 0x80 == 0 {
            delta.split_off(..usize::from(control)).filter(|own| !own.is_empty())
        } else {
            let at = number(&mut delta, control, 4).ok_or_else(cut)?;
            let length = match number(&mut delta, control >> 4, 3).ok_or_else(cut)? {
                0 => 0x1_0000,
                length => length,
            };
            old.get(at..at.saturating_add(length))
        };
        let part = part.ok_or("its delta has an instruction that cannot be followed")?;
        // ORDER: checked before the result grows. A short delta can copy a large range many times.
        if part.len() > is - new.len() {
            return Err(format!("its delta makes more than the {is} bytes that it states"));
        }
        new.extend_from_slice(part);
    }
    if new.len() != is {
        return Err(format!("its delta makes {} bytes, and states {is}", new.len()));
    }
    Ok(new)
}

fn byte(from: &mut &[u8]) -> Option<u8> {
    from.split_off_first().copied()
}

/// Reads a variable-length integer: seven bits a byte, least significant first, until a byte
/// without the highest bit.
fn size(from: &mut &[u8]) -> Option<u64> {
    let mut size = 0;
    for shift in (0..63).step_by(7) {
        let next = byte(from)?;
        size |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some(size);
        }
    }
    None
}

/// Reads an integer of up to `count` bytes, least significant first. Bytes whose bit in `present`
/// is not set are zero and absent.
fn number(from: &mut &[u8], present: u8, count: u32) -> Option<usize> {
    let mut number = 0;
    for place in (0..count).filter(|place| present & (1 << place) != 0) {
        number |= usize::from(byte(from)?) << (8 * place);
    }
    Some(number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Applies a patch with the lines of `packed` to `old`.
    fn made(kind: BinaryBlockKind, size: u64, packed: &[u8], old: &[u8]) -> Result<Vec<u8>, String> {
        apply(&BinaryBlock { kind, data: BinaryData { size, data: packed } }, old)
    }

    /// The lines that [`literal`] makes of `bytes`, without the one with their size.
    fn lines(bytes: &[u8]) -> Vec<u8> {
        let all = literal(bytes).unwrap();
        all.splitn(2, |byte| *byte == b'\n').nth(1).unwrap().to_vec()
    }

    /// Applies delta instructions to `old`.
    fn followed(old: &[u8], instructions: &[u8]) -> Result<Vec<u8>, String> {
        made(BinaryBlockKind::Delta, instructions.len() as u64, &lines(instructions), old)
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let noise: Vec<u8> = (0..5_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        for length in [0, 1, 2, 3, 4, 5, 51, 52, 53, 20_000] {
            let bytes = &noise[..length];
            let packed = lines(bytes);
            assert_eq!(made(BinaryBlockKind::Literal, length as u64, &packed, b"").unwrap(), bytes);
        }
    }

    #[test]
    fn a_stream_without_its_end_is_refused() {
        let packed = lines(&[7; 3_000]);
        let mut stream = decode(&packed).unwrap();
        for left in (0..stream.len()).rev() {
            stream.truncate(left);
            let mut cut = Vec::new();
            encode(&stream, &mut cut);
            assert_eq!(decode(&cut).unwrap(), stream);
            made(BinaryBlockKind::Literal, 3_000, &cut, b"").unwrap_err();
        }
    }

    #[test]
    fn another_size_than_the_stated_one_is_refused() {
        let packed = lines(&[0; 100_000]);
        for size in [0, 99_999, 100_001, MAX_BYTES + 1, u64::MAX] {
            made(BinaryBlockKind::Literal, size, &packed, b"").unwrap_err();
        }
    }

    #[test]
    fn what_is_no_base_85_is_refused() {
        // No length, no digit, a group too short, too large a number, a group too many or too few.
        for packed in ["0abcde", "Dabc\"e", "Dabcd", "D~~~~~", "Dabcdeabcde", "Eabcde"] {
            assert_eq!(decode(packed.as_bytes()), None, "{packed}");
        }
        assert_eq!(decode(b"B00000\r\n").unwrap(), [0, 0]);
    }

    #[test]
    fn a_delta_makes_no_more_than_it_states() {
        let old = [1; 0x1_0000];
        let header = [0x80, 0x80, 4];
        // All of the old content, and a byte.
        let twice = [&header[..], &[0x81, 0x80, 4, 0x80, 1, 9]].concat();
        assert_eq!(followed(&old, &twice).unwrap(), [&old[..], &[9]].concat());
        let larger = [&header[..], &[0x81, 0x80, 4], &[0x80; 10_000]].concat();
        assert!(followed(&old, &larger).unwrap_err().contains("more than the 65537 bytes"));
        let huge = [&header[..], &[0xff, 0xff, 0xff, 0xff, 0x7f], &[0x80; 10_000]].concat();
        assert!(followed(&old, &huge).unwrap_err().contains("more than 2147483648"));
    }

    #[test]
    fn a_delta_that_cannot_be_followed_is_refused() {
        let parts: [&[u8]; 8] = [
            b"",
            &[3],
            &[2, 1, 1, 9],
            &[3, 2, 1, 9],
            &[3, 1, 0, 9],
            &[3, 1, 2, 9],
            &[3, 1, 0x91, 3],
            &[3, 1, 0x91, 3, 1],
        ];
        for instructions in parts {
            followed(b"old", instructions).unwrap_err();
        }
        assert_eq!(followed(b"old", &[3, 2, 0x91, 2, 1, 1, b'!']).unwrap(), b"d!");
    }
}
