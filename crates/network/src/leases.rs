//! Leases of the addresses of a subnet to containers.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use rondel_fault::lock;

use crate::interfaces::Subnet;

/// Offset of the first leased address. The first address of a subnet is the network, the second the
/// gateway.
const FIRST: u32 = 2;

/// Leases addresses. A returned address is leased again as late as possible.
#[derive(Debug)]
pub(crate) struct Leases {
    subnet: Subnet,
    state: Mutex<LeaseState>,
}

#[derive(Debug)]
struct LeaseState {
    next: u32,
    leased: HashSet<u32>,
}

/// A leased address. It is returned when this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The address.
    pub(crate) address: Ipv4Addr,
    offset: u32,
    leases: Arc<Leases>,
}

impl Leases {
    /// All addresses of a subnet apart from network, gateway and broadcast.
    pub(crate) fn new(subnet: Subnet) -> Arc<Self> {
        Arc::new(Self { subnet, state: Mutex::new(LeaseState { next: FIRST, leased: HashSet::new() }) })
    }

    /// Leases an address. `None` if all are leased.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Lease> {
        let end = self.subnet.broadcast().to_bits() - self.subnet.host(0).to_bits();
        let mut state = lock(&self.state);
        if state.leased.len() as u32 >= end.saturating_sub(FIRST) {
            return None;
        }
        loop {
            let offset = state.next;
            state.next = if offset + 1 >= end { FIRST } else { offset + 1 };
            if state.leased.insert(offset) {
                return Some(Lease { address: self.subnet.host(offset), offset, leases: self.clone() });
            }
        }
    }

    /// How many addresses are leased.
    #[cfg(test)]
    pub(crate) fn leased(&self) -> usize {
        self.state.lock().unwrap().leased.len()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.leases.state).leased.remove(&self.offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_leased_once_and_again_as_late_as_possible() {
        let leases = Leases::new(Subnet::new(Ipv4Addr::new(10, 87, 0, 0), 29));
        let first = leases.take().unwrap();
        assert_eq!(first.address, Ipv4Addr::new(10, 87, 0, 2));
        drop(first);
        let leased: Vec<_> = std::iter::from_fn(|| leases.take()).collect();
        let last: Vec<u8> = leased.iter().map(|lease| lease.address.octets()[3]).collect();
        assert_eq!(last, [3, 4, 5, 6, 2]);
        drop(leased);
        assert_eq!(leases.leased(), 0);
    }
}
