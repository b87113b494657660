//! Sessions, clients and exec scopes as handlers see them; the containers and ports that run as
//! services of a session ([`services`]); and what of the engine handlers may use
//! ([`engine_services`]).
//!
//! *Invariants.* A handler gets its [`Client`] through [`client`] only; there is no global. The
//! engine makes exec scopes ([`ExecScope`]) and handlers read them; no API, header or variable
//! writes one. Plaintext of secrets is in [`secrets::SecretStore`] and nowhere else in this crate.

pub mod client;
pub mod engine_services;
pub mod entitlements;
pub mod git_remotes;
pub mod scope;
pub mod secrets;
pub mod services;
pub mod session;
pub mod sockets;

pub use client::{
    Args, Caller, Client, ClientLink, Evaluator, Handler, Prepare, Resolver, ResolverContext, check_entitled, client,
    client_on_machine,
};
pub use engine_services::{EngineInfo, Services};
pub use entitlements::Grants;
pub use git_remotes::{GitRemoteRefs, GitRemotes};
pub use scope::{ActingModule, CallOutcome, ExecScope, FunctionCall};
pub use secrets::{ProvidedSecret, SecretStore};
pub use services::{ClientServices, SessionServices};
pub use session::Session;
pub use sockets::SocketStore;
