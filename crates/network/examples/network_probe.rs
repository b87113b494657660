//! What the tests of an ordinary user's networks run, and a stopwatch for [`Networks::connect`].
//!
//!     network_probe reach STATE_DIR RESOLV_CONF SERVER MACHINE   enters a user namespace and tells what a container sees
//!     network_probe hold STATE_DIR RESOLV_CONF           the same, keeps a network until standard input ends
//!     network_probe exit STATUS                          enters and ends with a status
//!     network_probe wait                                 enters and waits until standard input ends
//!     network_probe time STATE_DIR POOL COUNT            as root: durations of `connect`, alone and with 8 at a time

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rondel_network::{Bridge, Options, rootless};
use rondel_ports::network::{Network, Networks};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:?}");
            ExitCode::from(99)
        }
    }
}

fn run(words: &[&str]) -> Outcome<u8> {
    match words {
        ["reach", state_dir, resolv_conf, server, machine] => {
            reach(&options(state_dir, resolv_conf), server.parse()?, machine.parse()?)?
        }
        ["hold", state_dir, resolv_conf] => {
            rootless::enter_user_namespace()?;
            let (bridge, network) = connect(&options(state_dir, resolv_conf))?;
            wait()?;
            drop((bridge, network));
        }
        ["exit", status] => {
            rootless::enter_user_namespace()?;
            return Ok(status.parse()?);
        }
        ["wait"] => {
            rootless::enter_user_namespace()?;
            wait()?;
        }
        ["time", state_dir, pool, count] => {
            time(Options { pool: pool.parse()?, ..Options::new(*state_dir, false) }, count.parse()?)?
        }
        _ => return Err("see the head of this file for what can be asked".into()),
    }
    Ok(0)
}

fn options(state_dir: &str, resolv_conf: &str) -> Options {
    Options { resolv_conf: resolv_conf.into(), ..Options::new(state_dir, true) }
}

fn say(line: &str) -> Outcome<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn wait() -> Outcome<()> {
    say("waiting")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn connect(options: &Options) -> Outcome<(Bridge, Network)> {
    let bridge = Bridge::new(options.clone());
    bridge.clean_up()?;
    let network = tokio::runtime::Builder::new_current_thread().build()?.block_on(bridge.connect())?;
    Ok((bridge, network))
}

fn reach(options: &Options, server: SocketAddr, machine: SocketAddr) -> Outcome<()> {
    let entered = rootless::enter_user_namespace()?;
    say(&format!("mapped range: {}", entered.mapped_range))?;
    say(&format!("user: {}", rustix::process::geteuid().as_raw()))?;
    let begin = Instant::now();
    // Nothing made in advance takes an address before the network that is looked at.
    let (bridge, network) = connect(&Options { pool: 0, ..options.clone() })?;
    let first = begin.elapsed();
    say(&format!("address: {:?}", network.address))?;
    say(&format!("resolv.conf: {:?}", network.resolv_conf))?;
    say(&format!("note: {:?}", bridge.warning()))?;
    say(&format!("listener: {}", bridge.listen(&network)?.local_addr()?.ip()))?;
    if network.address.is_some() {
        let gateway = network
            .resolv_conf
            .as_deref()
            .and_then(|text| text.split_whitespace().nth(1))
            .unwrap_or_default()
            .to_owned();
        let (greeting, answer, mtu) = inside(&network, move || {
            let mut greeting = String::new();
            TcpStream::connect_timeout(&server, TIMEOUT)?.read_to_string(&mut greeting)?;
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            socket
                .send_to(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01", (gateway, 53))?;
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer)?;
            let table = std::process::Command::new("/bin/sh")
                .args(["-c", "ip -o link show eth0"])
                .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
                .output()?;
            Ok((greeting, answer[..length].to_vec(), String::from_utf8_lossy(&table.stdout).into_owned()))
        })?;
        say(&format!("server: {greeting}"))?;
        say(&format!(
            "names: {} bytes, answer {}",
            answer.len(),
            answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
        ))?;
        say(&format!("mtu 1400: {}", mtu.contains("mtu 1400")))?;
        let to_machine =
            inside(&network, move || Ok(TcpStream::connect_timeout(&machine, Duration::from_secs(1)).is_ok()))?;
        say(&format!("machine: {to_machine}"))?;
    }
    writeln!(std::io::stderr(), "first network after {first:?}")?;
    Ok(())
}

fn inside<T: Send + 'static>(network: &Network, work: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
    let namespace = network.namespace.clone();
    let thread = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    });
    thread.join().map_err(|_| "a thread panicked")?
}

fn time(options: Options, count: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let pool = options.pool;
    let bridge = Arc::new(Bridge::new(options));
    let begin = Instant::now();
    let first = runtime.block_on(bridge.connect())?;
    say(&format!("first network, with bridge and rules: {:?}", begin.elapsed()))?;
    drop(first);
    let mut alone = Vec::new();
    let mut kept = Vec::new();
    for _ in 0..count {
        std::thread::park_timeout(Duration::from_millis(if pool > 0 { 5 } else { 0 }));
        let begin = Instant::now();
        kept.push(runtime.block_on(bridge.connect())?);
        alone.push(begin.elapsed());
    }
    say(&format!("one at a time, {pool} held ready: {}", summary(alone)))?;
    let gateway =
        kept.first().and_then(|network| network.resolv_conf.as_deref()).and_then(|text| text.split_whitespace().nth(1));
    let server = SocketAddr::new(gateway.unwrap_or_default().parse()?, 53);
    let mut talking = Vec::new();
    for _ in 0..count.min(50) {
        let begin = Instant::now();
        let network = runtime.block_on(bridge.connect())?;
        inside(&network, move || Ok(TcpStream::connect_timeout(&server, TIMEOUT)?))?;
        talking.push(begin.elapsed());
        kept.push(network);
    }
    say(&format!("until a connection to the gateway stands: {}", summary(talking)))?;
    let mut closing = Vec::new();
    for network in kept {
        let begin = Instant::now();
        drop(network);
        closing.push(begin.elapsed());
    }
    say(&format!("drop: {}", summary(closing)))?;
    let mut crowd = Vec::new();
    for _ in 0..count.div_ceil(8) {
        let tasks: Vec<_> = (0..8)
            .map(|_| bridge.clone())
            .map(|bridge| {
                runtime.spawn(async move {
                    let begin = Instant::now();
                    bridge.connect().await.map(|network| (begin.elapsed(), network))
                })
            })
            .collect();
        for task in tasks {
            crowd.push(runtime.block_on(task)??.0);
        }
    }
    say(&format!("8 at a time, {pool} held ready: {}", summary(crowd)))
}

fn summary(mut durations: Vec<Duration>) -> String {
    durations.sort();
    let at = |share: usize| durations.get(durations.len() * share / 100).copied().unwrap_or_default();
    format!("p50 {:?}, p95 {:?}, {} runs", at(50), at(95), durations.len())
}
