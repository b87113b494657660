//! Inputs made of those in a corpus: a few changes at random, the same ones in every run.

/// The largest input.
const MOST: usize = 64 << 10;

/// Bytes and words at which readers decide something.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\"",
    b"'",
    b"\\",
    b"/",
    b"../",
    b"$",
    b"${",
    b"{",
    b"}",
    b"[",
    b"]",
    b"*",
    b"!",
    b"#",
    b"-1",
    b"18446744073709551616",
    b"\xff",
    b"\xc3\xa9",
    b"\x80\x80\x80\x80\x10",
];

/// A sequence of numbers that look random.
pub struct Dice(u64);

impl Dice {
    /// The sequence of `name`.
    pub fn of(name: &str) -> Self {
        Self(name.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte))))
    }

    /// The next number: SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; zero when that is zero.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// One of `corpus`, changed in one to eight places.
pub fn input(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = corpus[dice.below(corpus.len())].clone();
    for _ in 0..1_usize << dice.below(4) {
        change(&mut input, corpus, dice);
    }
    input.truncate(MOST);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    let end = at + dice.below((input.len() - at).min(64) + 1);
    match dice.below(8) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..end)),
        2 => input.insert(at, dice.byte()),
        3 => input.insert(at, b' ' + dice.byte() % 95),
        4 => drop(input.splice(at..end, WORDS[dice.below(WORDS.len())].iter().copied())),
        5 => {
            // Now and then so often that it nests deeply.
            let times = if dice.below(16) == 0 { 1_000 } else { 1 + dice.below(3) };
            let part = input[at..end].repeat(times);
            input.splice(at..at, part);
        }
        6 => {
            let other = &corpus[dice.below(corpus.len())];
            let from = dice.below(other.len() + 1);
            let part = &other[from..from + dice.below(other.len() - from + 1)];
            input.splice(at..end, part.iter().copied());
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_always_the_same_and_another_one_for_another_name() {
        let corpus = [b"one two three".to_vec(), Vec::new()];
        let made = |name| {
            let mut dice = Dice::of(name);
            (0..1_000).map(|_| input(&corpus, &mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(made("tar"), made("tar"));
        assert_ne!(made("tar"), made("patch"));
        let different: std::collections::HashSet<_> = made("tar").into_iter().collect();
        assert!(different.len() > 500, "{}", different.len());
    }
}
