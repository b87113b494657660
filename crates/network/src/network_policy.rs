//! Which containers may reach each other, and by which names. The containers of a group reach the
//! containers that are published in it. No other container does. A group is the network of one
//! session.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use rondel_fault::lock;

use crate::firewall::{self, Element};
use crate::netlink::Socket;

/// The groups of one bridge. A group is added to the packet filter when the first container is
/// published in it.
pub(crate) struct NetworkPolicy(Mutex<PolicyState>);

struct PolicyState {
    filter: Socket,
    table: String,
    groups: HashMap<String, NetworkGroup>,
    /// The group of each container, by its address.
    group_of: HashMap<Ipv4Addr, String>,
    last: u32,
}

#[derive(Default)]
struct NetworkGroup {
    /// The number of the group in the packet filter.
    mark: u32,
    members: HashSet<Ipv4Addr>,
    published: HashMap<Ipv4Addr, usize>,
    /// The addresses of each name, the newest last.
    names: HashMap<String, Vec<Ipv4Addr>>,
    /// Whether its members were added to the packet filter.
    known: bool,
}

/// The answer to a name that a container asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NameAnswer {
    /// A container.
    Address(Ipv4Addr),
    /// The name is in our domain and does not exist.
    NoSuchName,
    /// The name is not ours: forward the query to the host's name servers.
    Forward,
}

/// The domain of all names of services.
const DOMAIN: &str = ".dagger.local";

/// Membership of a container in a group. Dropping it removes the container from the group.
pub(crate) struct Member {
    policy: Arc<NetworkPolicy>,
    address: Ipv4Addr,
}

/// A container that the members of a group may reach. Dropping it ends that.
pub(crate) struct Published {
    policy: Arc<NetworkPolicy>,
    group_name: String,
    address: Ipv4Addr,
    names: Vec<String>,
}

impl NetworkPolicy {
    /// A policy without groups. `filter` is a socket to the packet filter, `table` the table there.
    pub(crate) fn new(filter: Socket, table: String) -> Arc<Self> {
        let (groups, group_of) = (HashMap::new(), HashMap::new());
        Arc::new(Self(Mutex::new(PolicyState { filter, table, groups, group_of, last: 0 })))
    }

    /// Adds the container at `address` to a group.
    pub(crate) fn join(self: &Arc<Self>, address: Ipv4Addr, group_name: &str) -> io::Result<Member> {
        let mut state = self.lock();
        let group = state.group(group_name);
        group.members.insert(address);
        let (known, mark) = (group.known, group.mark);
        state.group_of.insert(address, group_name.to_owned());
        let member = Member { policy: self.clone(), address };
        if known {
            let changed = state.change_filter(&[Element::Member(address, mark)], true);
            drop(state);
            changed?;
        }
        Ok(member)
    }

    /// Adds or removes elements of the packet filter that do not belong to a group.
    pub(crate) fn change_filter(&self, elements: &[Element], add: bool) -> io::Result<()> {
        self.lock().change_filter(elements, add)
    }

    /// Lets the members of a group reach the container at `address`, also by `names`.
    pub(crate) fn publish(
        self: &Arc<Self>,
        address: Ipv4Addr,
        group_name: &str,
        names: &[String],
    ) -> io::Result<Published> {
        let mut state = self.lock();
        let group = state.group(group_name);
        let mut elements = Vec::new();
        let mark = group.mark;
        if !std::mem::replace(&mut group.known, true) {
            elements.extend(group.members.iter().map(|member| Element::Member(*member, mark)));
        }
        let times = group.published.entry(address).or_default();
        *times += 1;
        if *times == 1 {
            elements.push(Element::Published(address, mark));
        }
        let names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        for name in &names {
            group.names.entry(name.clone()).or_default().push(address);
        }
        let published = Published { policy: self.clone(), group_name: group_name.to_owned(), address, names };
        let changed = state.change_filter(&elements, true);
        drop(state);
        changed.map(|()| published)
    }

    /// Resolves `name` for the container at `asker`.
    pub(crate) fn resolve(&self, asker: Ipv4Addr, name: &str) -> NameAnswer {
        let name = name.to_ascii_lowercase();
        let state = self.lock();
        let group = state.group_of.get(&asker).and_then(|name| state.groups.get(name));
        match group.and_then(|group| group.names.get(&name)?.last()) {
            Some(address) => NameAnswer::Address(*address),
            None if name.ends_with(DOMAIN) => NameAnswer::NoSuchName,
            None => NameAnswer::Forward,
        }
    }

    fn lock(&self) -> MutexGuard<'_, PolicyState> {
        lock(&self.0)
    }
}

impl PolicyState {
    fn group(&mut self, group_name: &str) -> &mut NetworkGroup {
        if !self.groups.contains_key(group_name) {
            self.last = self.last.wrapping_add(1);
            self.groups.insert(group_name.to_owned(), NetworkGroup { mark: self.last, ..NetworkGroup::default() });
        }
        self.groups.entry(group_name.to_owned()).or_default()
    }

    fn change_filter(&mut self, elements: &[Element], add: bool) -> io::Result<()> {
        if elements.is_empty() {
            return Ok(());
        }
        firewall::change_elements(&mut self.filter, &self.table, elements, add)
    }

    /// Removes a group without members and published containers.
    fn forget_empty(&mut self, group_name: &str) {
        if self.groups.get(group_name).is_some_and(|group| group.members.is_empty() && group.published.is_empty()) {
            self.groups.remove(group_name);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.policy.lock();
        let Some(name_of_group) = state.group_of.remove(&self.address) else { return };
        let Some(group) = state.groups.get_mut(&name_of_group) else { return };
        group.members.remove(&self.address);
        let (known, mark) = (group.known, group.mark);
        if known {
            // Removing fails only if the element is gone already.
            let _ = state.change_filter(&[Element::Member(self.address, mark)], false);
        }
        state.forget_empty(&name_of_group);
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let mut state = self.policy.lock();
        let Some(group) = state.groups.get_mut(&self.group_name) else { return };
        for name in &self.names {
            if let Some(addresses) = group.names.get_mut(name) {
                if let Some(at) = addresses.iter().rposition(|address| *address == self.address) {
                    addresses.remove(at);
                }
                if addresses.is_empty() {
                    group.names.remove(name);
                }
            }
        }
        let mark = group.mark;
        let times = group.published.get_mut(&self.address).map(|times| {
            *times -= 1;
            *times
        });
        if times == Some(0) {
            group.published.remove(&self.address);
            let _ = state.change_filter(&[Element::Published(self.address, mark)], false);
        }
        state.forget_empty(&self.group_name);
    }
}
