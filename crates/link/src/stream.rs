//! The content of a stream.
//!
//! A TCP connection or a unix socket: its bytes, in both directions. A UDP peer: packets, in both
//! directions, each one datagram. A terminal: its output as bytes to the client, packets from it.

/// The bytes before the content of a packet: its kind, and its length in two bytes, the more
/// significant one first.
pub const HEAD: usize = 3;

/// A piece of a stream that keeps its borders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A datagram, or what was typed.
    Data(Vec<u8>),
    /// The size of a terminal.
    Size {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
}

/// The kind and length that the first bytes of a packet say.
pub fn read_head(head: [u8; HEAD]) -> (u8, usize) {
    let [kind, high, low] = head;
    (kind, usize::from(u16::from_be_bytes([high, low])))
}

impl Packet {
    /// As bytes; content beyond 65,535 bytes is cut off.
    pub fn bytes(&self) -> Vec<u8> {
        let size;
        let (kind, content): (u8, &[u8]) = match self {
            Packet::Data(content) => (0, content),
            Packet::Size { columns, rows } => {
                let ([a, b], [c, d]) = (columns.to_be_bytes(), rows.to_be_bytes());
                size = [a, b, c, d];
                (1, &size)
            }
        };
        let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
        let [high, low] = length.to_be_bytes();
        let mut bytes = vec![kind, high, low];
        bytes.extend_from_slice(content.get(..usize::from(length)).unwrap_or(content));
        bytes
    }

    /// The packet of a kind with some content. `None` for a kind that is not known.
    pub fn of(kind: u8, content: Vec<u8>) -> Option<Self> {
        match (kind, &content[..]) {
            (0, _) => Some(Packet::Data(content)),
            (1, [a, b, c, d]) => {
                Some(Packet::Size { columns: u16::from_be_bytes([*a, *b]), rows: u16::from_be_bytes([*c, *d]) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_survive_the_way() {
        for packet in [Packet::Data(vec![]), Packet::Data(vec![7; 65_535]), Packet::Size { columns: 300, rows: 50 }] {
            let bytes = packet.bytes();
            let (kind, length) = read_head([bytes[0], bytes[1], bytes[2]]);
            assert_eq!(bytes.len(), HEAD + length);
            assert_eq!(Packet::of(kind, bytes[HEAD..].to_vec()), Some(packet));
        }
        assert_eq!(Packet::of(1, vec![0]), None);
        assert_eq!(Packet::of(9, vec![]), None);
    }
}
