//! How much one container, and all of them together, may take of the machine.

use rondel_ports::cache::Size;

/// The share of the machine's memory that one container may take.
const MEMORY: Size = Size::Percent(90.0);

/// What one container may take. What is absent follows from the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Memory: bytes, or a share of that of the machine.
    pub memory: Option<Size>,
    /// How many processes and threads run at once.
    pub processes: Option<u64>,
    /// The share of processor time when there is too little for all, 1 to 10,000; 100 is what
    /// others have.
    pub cpu_weight: Option<u16>,
    /// The same for the disk.
    pub io_weight: Option<u16>,
}

/// The same in values.
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
    /// The limits on a machine with so much memory, where so many processes are possible.
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
