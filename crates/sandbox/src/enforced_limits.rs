//! How the limits of containers are enforced: by control groups where they are usable, else by
//! limits of single processes.

use std::ffi::CString;
use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit};

use crate::cgroup::Cgroups;
use crate::limits::{LimitValues, Limits};
use crate::steps::{Action, Step};

/// The difference of `oom_score_adj` between containers and the engine: the kernel prefers to kill
/// containers when the machine runs out of memory.
const OOM_SCORE: i32 = 500;
const MAX_OOM_SCORE: i32 = 1000;

/// How the limits of containers are enforced.
pub(crate) struct EnforcedLimits {
    /// Control groups, if they are usable.
    pub(crate) cgroups: Option<Cgroups>,
    /// The reason why they are not usable.
    pub(crate) reason: Option<String>,
    /// The `oom_score_adj` of containers, in digits.
    pub(crate) oom_score: CString,
    /// The resource limits of each process.
    of_process: Vec<(Resource, Rlimit)>,
    /// The limit of open files before the engine raised its own.
    open_files: Option<Rlimit>,
}

impl EnforcedLimits {
    /// Detects what this machine can enforce.
    pub(crate) fn detect(limits: &Limits, open_files: Option<Rlimit>) -> Self {
        let values = LimitValues::new(limits, machine_memory(), machine_processes());
        let (cgroups, reason) = match Cgroups::find(values) {
            Ok(cgroups) => (Some(cgroups), None),
            Err(reason) => (None, Some(reason)),
        };
        let mut of_process = Vec::new();
        if cgroups.is_none() {
            of_process.push((Resource::Nproc, at_most(Resource::Nproc, values.processes)));
            // Not by default: it would refuse memory to programs that only reserve addresses, such
            // as sanitizers.
            if limits.memory.is_some() {
                of_process.push((Resource::Data, at_most(Resource::Data, values.memory)));
            }
        }
        let own_score =
            fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse::<i32>().ok());
        let oom_score = own_score.unwrap_or(0).saturating_add(OOM_SCORE).min(MAX_OOM_SCORE);
        Self {
            cgroups,
            reason,
            // Digits have no zero byte.
            oom_score: CString::new(oom_score.to_string()).unwrap_or_default(),
            of_process,
            open_files,
        }
    }

    /// The first steps of a container, before it leaves the files of the host.
    pub(crate) fn first_steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::optional(Action::OomScoreAdj(self.oom_score.clone()))];
        steps.extend(self.open_files.iter().map(|limit| Step::required(of(Resource::Nofile, limit))));
        steps
    }

    /// The steps of a command that limit its processes.
    pub(crate) fn steps_of_process(&self) -> impl Iterator<Item = Step> {
        self.of_process.iter().map(|(resource, limit)| Step::required(of(*resource, limit)))
    }
}

fn of(resource: Resource, limit: &Rlimit) -> Action {
    let number = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
    Action::SetRlimit { resource: resource as u32, limits: [number(limit.current), number(limit.maximum)] }
}

/// A limit that may not be above the one in force.
fn at_most(resource: Resource, limit: u64) -> Rlimit {
    let limit = getrlimit(resource).maximum.map_or(limit, |most| most.min(limit));
    Rlimit { current: Some(limit), maximum: Some(limit) }
}

fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "the type differs between architectures")]
    let (total, unit) = (u64::from(info.totalram), u64::from(info.mem_unit));
    total.saturating_mul(unit)
}

fn machine_processes() -> u64 {
    let setting = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok();
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(32_768_u64)
    };
    setting("pid_max").min(setting("threads-max"))
}

/// The machine's number of out-of-memory kills so far.
pub(crate) fn machine_kills() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}
