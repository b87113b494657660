//! Resource limits in numbers: what one container, and all of them together, may take of the
//! machine.
//!
//! Memory and processes are limited for each container and for all together. Processor and disk
//! have a weight for each container only. `cgroup.rs` applies all of them. Where control groups are
//! not usable, `enforced_limits.rs` turns the limits of a container into limits of its processes,
//! and totals and weights do not apply.
//!
//! *Invariants.* The totals leave a part of the machine to others, whatever is configured.

use rondel_ports::cache::Size;

/// The default share of the machine's memory for one container.
const MEMORY: Size = Size::Percent(90.0);

/// Resource limits of one container, as configured. `None` is a default that depends on the
/// machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Memory: bytes, or a share of the machine's.
    pub memory: Option<Size>,
    /// The number of processes and threads at a time.
    pub processes: Option<u64>,
    /// `cpu.weight`, 1 to 10,000: the share of processor time under contention. Other processes
    /// have 100.
    pub cpu_weight: Option<u16>,
    /// `io.weight`: the same for the disk.
    pub io_weight: Option<u16>,
}

/// Resource limits in absolute numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitValues {
    /// Bytes for one container.
    pub(crate) memory: u64,
    /// Bytes for all containers together.
    pub(crate) total_memory: u64,
    /// Processes of one container.
    pub(crate) processes: u64,
    /// Processes of all containers together.
    pub(crate) total_processes: u64,
    pub(crate) cpu_weight: Option<u16>,
    pub(crate) io_weight: Option<u16>,
}

impl LimitValues {
    /// The limits on a machine with `memory` bytes that can run `processes` processes.
    pub(crate) fn new(limits: &Limits, memory: u64, processes: u64) -> Self {
        let total_processes = processes / 8 * 7;
        Self {
            memory: limits.memory.unwrap_or(MEMORY).bytes(memory),
            total_memory: memory / 20 * 19,
            processes: limits.processes.unwrap_or(processes / 2).min(total_processes),
            total_processes,
            cpu_weight: limits.cpu_weight,
            io_weight: limits.io_weight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_from_the_machine_or_the_choice() {
        let values = LimitValues::new(&Limits::default(), 1000, 800);
        assert_eq!((values.memory, values.total_memory), (900, 950));
        assert_eq!((values.processes, values.total_processes), (400, 700));
        let chosen = Limits { memory: Some(Size::Bytes(5)), processes: Some(7), cpu_weight: Some(3), io_weight: None };
        let values = LimitValues::new(&chosen, 1000, 800);
        assert_eq!((values.memory, values.processes, values.cpu_weight), (5, 7, Some(3)));
        let too_many = Limits { processes: Some(10_000), ..Limits::default() };
        assert_eq!(LimitValues::new(&too_many, 1000, 800).processes, 700, "no container takes what the machine needs");
    }
}
