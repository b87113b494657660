//! Which addresses belong to this machine or to a container on it, by the kernel's current routes.

use std::io;
use std::net::IpAddr;

use crate::interfaces;
use crate::netlink::{Family, Message, Socket, attribute, word};
use crate::resource_names;

const GET_ROUTE: u16 = 26;
const TYPE_UNICAST: u8 = 1;
const ATTRIBUTE_LINK: u16 = 4;

/// Whether `address` belongs to this machine, as the calling thread's network namespace has it, or
/// to a container of an engine. Returns `true` when the kernel gives no answer. Blocks for
/// microseconds.
pub fn is_host_or_container_address(address: IpAddr) -> bool {
    leads_here(address).unwrap_or(true)
}

fn leads_here(address: IpAddr) -> io::Result<bool> {
    let mut socket = Socket::open(Family::Route)?;
    let (family, bytes) = match address {
        IpAddr::V4(v4) => (2, v4.octets().to_vec()),
        IpAddr::V6(v6) => (10, v6.octets().to_vec()),
    };
    let mut question = vec![family, bytes.len() as u8 * 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    question.extend_from_slice(&(bytes.len() as u16 + 4).to_ne_bytes());
    question.extend_from_slice(&1_u16.to_ne_bytes());
    question.extend_from_slice(&bytes);
    let Some(Message { body, .. }) = route(&mut socket, &question)? else { return Ok(false) };
    let [_, _, _, kind] = word(&body, 4)?;
    if kind != TYPE_UNICAST {
        return Ok(true);
    }
    let attributes = body.get(12..).unwrap_or_default();
    let Some(index) = attribute(attributes, ATTRIBUTE_LINK) else { return Ok(false) };
    let index = u32::from_ne_bytes(word(index, 0)?);
    Ok(interfaces::name_of(&mut socket, index)?.is_some_and(|name| resource_names::is_engine_interface(&name)))
}

/// The route of a packet, or `None` if the address is unreachable.
fn route(socket: &mut Socket, question: &[u8]) -> io::Result<Option<Message>> {
    match socket.fetch(GET_ROUTE, question) {
        Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::HostUnreachable => Ok(None),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::{connect, on_machine, sh};

    #[test]
    fn the_addresses_of_a_machine() {
        on_machine(|machine| {
            sh("ip addr add 2001:db8::1/64 dev up0 nodad");
            let bridge = machine.bridge(0);
            let container = connect(&bridge).address.unwrap().to_string();
            for here in
                ["127.0.0.1", "127.8.8.8", "198.51.100.1", "::1", "2001:db8::1", "10.87.0.1", "10.87.200.1", &container]
            {
                assert!(is_host_or_container_address(here.parse().unwrap()), "{here}");
            }
            for elsewhere in ["198.51.100.2", "192.0.2.9", "2001:db8::2", "2001:db8:9::1"] {
                assert!(!is_host_or_container_address(elsewhere.parse().unwrap()), "{elsewhere}");
            }
        });
    }
}
