//! DNS queries: parsing the question of a packet, and answers about containers.

use std::net::Ipv4Addr;

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
/// TTL of answers. Zero, because a name may soon belong to another container: clients must not
/// cache it.
const SECONDS: u32 = 0;

/// The question of a DNS query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DnsQuery {
    /// The name, without the dot at its end.
    pub(crate) name: String,
    kind: u16,
    /// The offset in the packet at which the question ends.
    end: usize,
}

impl DnsQuery {
    /// Parses a packet. `None` unless it is a plain query with one question.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let half = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
        let is_query = packet.get(2)? & 0xf8 == 0;
        if !is_query || half(4)? != 1 || half(6)? != 0 {
            return None;
        }
        let mut name = String::new();
        let mut at = HEADER;
        loop {
            let length = usize::from(*packet.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            if length > 63 || name.len() > 255 {
                return None;
            }
            let label = packet.get(at..at + length)?;
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(std::str::from_utf8(label).ok()?);
            at += length;
        }
        (half(at + 2)? == CLASS_IN).then_some(Self { name, kind: half(at)?, end: at + 4 })
    }

    /// The answer that the name belongs to a container at `address`. Only an `A` query gets a
    /// record.
    pub(crate) fn address(&self, packet: &[u8], address: Ipv4Addr) -> Vec<u8> {
        let records = u8::from(self.kind == TYPE_A);
        let mut answer = self.begin(packet, 0, records);
        if records == 1 {
            // A pointer to the name in the question.
            answer.extend_from_slice(&[0xc0, HEADER as u8]);
            answer.extend_from_slice(&TYPE_A.to_be_bytes());
            answer.extend_from_slice(&CLASS_IN.to_be_bytes());
            answer.extend_from_slice(&SECONDS.to_be_bytes());
            answer.extend_from_slice(&4_u16.to_be_bytes());
            answer.extend_from_slice(&address.octets());
        }
        answer
    }

    /// The answer `NXDOMAIN`.
    pub(crate) fn nothing(&self, packet: &[u8]) -> Vec<u8> {
        const NO_SUCH_NAME: u8 = 3;
        self.begin(packet, NO_SUCH_NAME, 0)
    }

    fn begin(&self, packet: &[u8], code: u8, records: u8) -> Vec<u8> {
        const RESPONSE: u8 = 0x80;
        const AUTHORITATIVE: u8 = 4;
        const RECURSION: u8 = 1;
        const RECURSION_AVAILABLE: u8 = 0x80;
        let mut answer = packet.get(..self.end).unwrap_or_default().to_vec();
        if let [_, _, first, second, counts @ ..] = answer.as_mut_slice() {
            *first = RESPONSE | AUTHORITATIVE | *first & RECURSION;
            *second = RECURSION_AVAILABLE | code;
            for (count, value) in counts.iter_mut().zip([0, 1, 0, records, 0, 0, 0, 0]) {
                *count = value;
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8) -> Vec<u8> {
        [&b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03www\x01s\x00\x00"[..], &[kind], b"\x00\x01rest"]
            .concat()
    }

    #[test]
    fn a_question_is_read_and_answered() {
        let asked = packet(1);
        let question = DnsQuery::read(&asked).unwrap();
        assert_eq!(question.name, "www.s");
        let answer = question.address(&asked, Ipv4Addr::new(10, 87, 0, 9));
        assert_eq!(&answer[..12], b"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00");
        assert_eq!(&answer[answer.len() - 16..], b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x0a\x57\x00\x09");
        assert_eq!(answer.len(), asked.len() - 4 + 16);
        assert_eq!(question.nothing(&asked)[2..8], *b"\x85\x83\x00\x01\x00\x00");
    }

    #[test]
    fn other_records_of_a_container_are_none() {
        let asked = packet(28);
        let answer = DnsQuery::read(&asked).unwrap().address(&asked, Ipv4Addr::LOCALHOST);
        assert_eq!(answer[2..8], *b"\x85\x80\x00\x01\x00\x00");
        assert_eq!(answer.len(), asked.len() - 4);
    }

    #[test]
    fn broken_packets_are_no_questions() {
        let whole = packet(1);
        for length in 0..whole.len() - 4 {
            assert_eq!(DnsQuery::read(&whole[..length]), None, "{length}");
        }
        let mut pointer = whole.clone();
        pointer[12] = 0xc0;
        assert_eq!(DnsQuery::read(&pointer), None);
        let mut response = whole;
        response[2] |= 0x80;
        assert_eq!(DnsQuery::read(&response), None);
    }
}
