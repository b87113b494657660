//! Cuts UTF-8 text that arrives in pieces between two characters.

/// The length of `bytes` without an incomplete character at the end.
pub(crate) fn whole_characters(bytes: &[u8]) -> usize {
    let start = bytes.len().saturating_sub(4);
    match std::str::from_utf8(&bytes[start..]) {
        Err(e) if e.error_len().is_none() => start + e.valid_up_to(),
        // Cutting at `start` may have split a character. Then only an incomplete character at the
        // end counts.
        Err(_) => (start..bytes.len())
            .find(|&at| matches!(std::str::from_utf8(&bytes[at..]), Err(e) if e.error_len().is_none() && e.valid_up_to() == 0))
            .unwrap_or(bytes.len()),
        Ok(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_split() {
        let check = |bytes: &[u8], want: usize| assert_eq!(whole_characters(bytes), want, "{bytes:?}");
        check(b"", 0);
        check(b"abcdef", 6);
        check("abcé".as_bytes(), 5);
        check(&"abcé".as_bytes()[..4], 3);
        check(&"ab€".as_bytes()[..4], 2);
        check("ééé€".as_bytes(), 9);
        check(&"ééé😀".as_bytes()[..9], 6);
        check(b"ab\xff", 3);
        check(b"\xff\xff\xff\xff\xc3", 4);
    }
}
