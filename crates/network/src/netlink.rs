//! Netlink sockets: batches of requests in one message each, and dumps.
//!
//! A socket belongs to the network namespace in which it was opened, on whichever thread it is used
//! later.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
const FLAG_DUMP: u16 = 0x300;
/// Create what does not exist yet.
pub(crate) const CREATE: u16 = 0x400;
/// Replace what exists already.
pub(crate) const REPLACE: u16 = 0x100;
/// Fail if it exists already.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// Add at the end of the list.
pub(crate) const APPEND: u16 = 0x800;

const KIND_ERROR: u16 = 2;
const KIND_DONE: u16 = 3;
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(5);

/// The two netlink families that are used.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Family {
    /// Links, addresses and routes.
    Route,
    /// Packet filter.
    Netfilter,
}

/// An open netlink socket.
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One message of an answer: its kind and what follows the header.
pub(crate) struct Message {
    /// The message kind.
    pub(crate) kind: u16,
    /// The family header and the attributes.
    pub(crate) body: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub(crate) fn open(family: Family) -> io::Result<Self> {
        let protocol: Option<Protocol> = match family {
            Family::Route => None,
            Family::Netfilter => Some(rustix::net::netlink::NETFILTER),
        };
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(TIMEOUT))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; 64 * 1024] })
    }

    /// Sends all requests at once and waits until each is acknowledged.
    ///
    /// # Errors
    /// The first error of the kernel. Other requests of a route batch may have been carried out.
    pub(crate) fn apply(&mut self, mut batch: Batch) -> io::Result<()> {
        let first = self.sequence.wrapping_add(1);
        self.sequence = batch.number(self.sequence);
        rustix::net::send(&self.fd, &batch.bytes, SendFlags::empty())?;
        let mut waiting = batch.acknowledged;
        let mut outcome = Ok(());
        while waiting > 0 {
            for (sequence, message) in self.receive()? {
                if message.kind != KIND_ERROR || sequence.wrapping_sub(first) > self.sequence.wrapping_sub(first) {
                    continue;
                }
                let code = i32::from_ne_bytes(word(&message.body, 0)?);
                if code != 0 && outcome.is_ok() {
                    outcome = Err(io::Error::from_raw_os_error(-code));
                }
                if code != 0 && batch.enveloped && sequence == first {
                    return outcome;
                }
                waiting = waiting.saturating_sub(1);
            }
        }
        outcome
    }

    /// Fetches one object from the kernel, or `None` if there is none.
    pub(crate) fn fetch(&mut self, kind: u16, body: &[u8]) -> io::Result<Option<Message>> {
        let mut batch = Batch::default();
        batch.push(kind, FLAG_REQUEST | FLAG_ACK, body, |_| {});
        self.sequence = batch.number(self.sequence);
        rustix::net::send(&self.fd, &batch.bytes, SendFlags::empty())?;
        let mut said = None;
        loop {
            for (sequence, message) in self.receive()? {
                if sequence != self.sequence {
                    continue;
                }
                if message.kind != KIND_ERROR {
                    said = Some(message);
                    continue;
                }
                return match i32::from_ne_bytes(word(&message.body, 0)?) {
                    0 => Ok(said),
                    code => Err(io::Error::from_raw_os_error(-code)),
                };
            }
        }
    }

    /// Everything that the kernel lists for a request.
    pub(crate) fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Message>> {
        let mut batch = Batch::default();
        batch.push(kind, FLAG_REQUEST | FLAG_DUMP, body, |_| {});
        self.sequence = batch.number(self.sequence);
        rustix::net::send(&self.fd, &batch.bytes, SendFlags::empty())?;
        let mut listed = Vec::new();
        loop {
            for (sequence, message) in self.receive()? {
                if sequence != self.sequence {
                    continue;
                }
                match message.kind {
                    KIND_DONE => return Ok(listed),
                    KIND_ERROR => {
                        return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(word(&message.body, 0)?)));
                    }
                    _ => listed.push(message),
                }
            }
        }
    }

    fn receive(&mut self) -> io::Result<Vec<(u32, Message)>> {
        let length = loop {
            match rustix::net::recv(&self.fd, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => break length,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let mut messages = Vec::new();
        let mut rest = self.buffer.get(..length).unwrap_or_default();
        while rest.len() >= HEADER {
            let size = u32::from_ne_bytes(word(rest, 0)?) as usize;
            let body = rest.get(HEADER..size).ok_or_else(malformed)?.to_vec();
            messages.push((u32::from_ne_bytes(word(rest, 8)?), Message { kind: half(rest, 4)?, body }));
            rest = rest.get(aligned(size)..).unwrap_or_default();
        }
        Ok(messages)
    }
}

/// Requests that are sent together.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    acknowledged: usize,
    enveloped: bool,
}

impl Batch {
    /// Adds a request that the kernel acknowledges.
    pub(crate) fn request(&mut self, kind: u16, flags: u16, body: &[u8], attributes: impl FnOnce(&mut Attributes<'_>)) {
        self.acknowledged += 1;
        self.push(kind, flags | FLAG_REQUEST | FLAG_ACK, body, attributes);
    }

    /// Adds a message that opens or closes a transaction. The kernel answers it only when the whole
    /// transaction fails.
    pub(crate) fn envelope(&mut self, kind: u16, body: &[u8]) {
        self.enveloped = true;
        self.push(kind, FLAG_REQUEST, body, |_| {});
    }

    fn push(&mut self, kind: u16, flags: u16, body: &[u8], attributes: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(body);
        pad(&mut self.bytes);
        attributes(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        pad(&mut self.bytes);
    }

    /// Numbers the messages and returns the last number.
    fn number(&mut self, mut sequence: u32) -> u32 {
        let mut at = 0;
        while at + HEADER <= self.bytes.len() {
            sequence = sequence.wrapping_add(1);
            self.bytes[at + 8..at + 12].copy_from_slice(&sequence.to_ne_bytes());
            let length = word(&self.bytes, at).map(u32::from_ne_bytes).unwrap_or(u32::MAX);
            at += aligned(length as usize);
        }
        sequence
    }
}

/// The attributes of a request under construction.
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// Adds bytes.
    pub(crate) fn bytes(&mut self, kind: u16, data: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&((data.len() + 4) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(data);
        pad(self.0);
        self
    }

    /// Adds text, closed by a zero byte.
    pub(crate) fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut data = text.as_bytes().to_vec();
        data.push(0);
        self.bytes(kind, &data)
    }

    /// Adds a number in the order of this machine.
    pub(crate) fn number(&mut self, kind: u16, number: u32) -> &mut Self {
        self.bytes(kind, &number.to_ne_bytes())
    }

    /// Adds a number in network order.
    pub(crate) fn network_number(&mut self, kind: u16, number: u32) -> &mut Self {
        self.bytes(kind, &number.to_be_bytes())
    }

    /// Adds bytes without an attribute header.
    pub(crate) fn raw(&mut self, data: &[u8]) -> &mut Self {
        self.0.extend_from_slice(data);
        self
    }

    /// Adds attributes inside an attribute.
    pub(crate) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        inner(&mut Attributes(self.0));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
        self
    }
}

/// The attributes in `bytes`: kind without flags, and value. What is malformed ends the list.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(half(rest, 0).ok()?);
        let kind = half(rest, 2).ok()? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The text of an attribute, without its closing zero byte.
pub(crate) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// Four bytes at an offset.
pub(crate) fn word(bytes: &[u8], at: usize) -> io::Result<[u8; 4]> {
    bytes.get(at..at + 4).and_then(|found| found.try_into().ok()).ok_or_else(malformed)
}

fn half(bytes: &[u8], at: usize) -> io::Result<u16> {
    bytes.get(at..at + 2).and_then(|found| found.try_into().ok()).map(u16::from_ne_bytes).ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed netlink message")
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn pad(bytes: &mut Vec<u8>) {
    while !bytes.len().is_multiple_of(4) {
        bytes.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_back() {
        let mut bytes = Vec::new();
        Attributes(&mut bytes).text(3, "eth0").nest(18, |inner| {
            inner.number(4, 7);
        });
        let read: Vec<_> = attributes(&bytes).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].0, text(read[0].1).as_str()), (3, "eth0"));
        assert_eq!(attribute(read[1].1, 4), Some(&7u32.to_ne_bytes()[..]));
    }

    #[test]
    fn malformed_attributes_end_the_list() {
        for bytes in [&[][..], &[1], &[3, 0, 1, 0], &[200, 0, 1, 0, 9]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn refusals_are_reported_and_the_socket_stays_usable() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let mut batch = Batch::default();
        batch.request(17, 0, &[0; 16], |a| {
            a.text(3, "rnd-not-there");
        });
        assert!(socket.apply(batch).is_err());
        assert!(!socket.dump(18, &[0; 16]).unwrap().is_empty());
    }
}
