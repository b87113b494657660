//! The recipe of a value: one call with its receiver and arguments, and its digest.

use std::fmt;
use std::sync::Arc;

use rondel_digest::{Digest, Hasher};

/// The argument that gives a process access to the API.
pub const NESTING: &str = "experimentalPrivilegedNesting";

/// The argument that says that a process in a container asked for what depends on its own machine.
/// No document can set it, since no schema has it.
pub const NESTED_CLIENT: &str = "_foreign";

/// The argument that holds the seal of an address: it says where the engine may connect for it. No
/// document can set it, since no schema has it.
pub const EGRESS_SEAL: &str = "_reach";

/// One field selected on a receiver with its arguments.
///
/// Every cached result holds one, so it is small: texts that many calls have are shared, and parts
/// that few calls have are boxed.
pub struct Call {
    receiver: Option<Arc<Call>>,
    returns: Arc<str>,
    field: Arc<str>,
    args: Box<[(Arc<str>, Literal)]>,
    rest: Option<Box<Rest>>,
    digest: Digest,
    starts_processes: bool,
    session_scoped: bool,
    from_nested_client: bool,
}

/// The parts that few calls have. See [`CallSpec`].
#[derive(Default)]
struct Rest {
    nth: u32,
    view: Option<Arc<str>>,
    module: Option<ModuleRef>,
    identity: Option<Arc<ModuleIdentity>>,
    implicit: Box<[(Arc<str>, Arc<str>)]>,
}

/// Everything of a call except its receiver, to make one of.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSpec {
    /// The name of the type that the field returns, without wrappers.
    pub returns: Arc<str>,
    /// The field's name.
    pub field: Arc<str>,
    /// The arguments that were given and differ from their defaults, in the order of the schema.
    pub args: Vec<(Arc<str>, Literal)>,
    /// Counted from one: the element of the list that the field returns. Zero: the field's value
    /// itself.
    pub nth: u32,
    /// The view, recorded only where the field's meaning depends on it.
    // IDENTITY: two views share every call that does not record one.
    pub view: Option<Arc<str>>,
    /// The module that provides the field.
    pub module: Option<ModuleRef>,
    /// The module as which processes act that the field starts. `None`: each is a client of its
    /// own.
    // IDENTITY: part of the digest, so that no two modules share what was done as one of them.
    pub identity: Option<Arc<ModuleIdentity>>,
    /// Inputs that no argument shows: client, session, randomness.
    pub implicit: Vec<(Arc<str>, Arc<str>)>,
}

/// Which module provides a field: how to load it again, and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleRef {
    /// The call that gives the module.
    // IDENTITY: not part of the digest; where a module was found does not matter.
    pub module: Arc<Call>,
    /// The digest of its implementation: source, name, SDK, dependencies.
    // IDENTITY: part of the digest.
    pub implementation: Digest,
}

/// The module as which the processes act that a call starts: the work that an SDK or an entrypoint
/// does for a module is done as that module.
#[derive(Clone, Debug)]
pub struct ModuleIdentity {
    /// The module: what it is, and the call that gives it, which loads it when it is not known any
    /// more.
    pub module: ModuleRef,
    /// The API version that it sees.
    pub view: Arc<str>,
}

impl ModuleIdentity {
    /// The identity as keys know it.
    // IDENTITY: what the module is and what it sees decide all that a process can observe; where
    // the module was found does not count.
    pub fn digest(&self) -> Digest {
        rondel_digest::of("module-identity/v1", &(self.module.implementation.as_bytes(), &*self.view))
    }
}

impl PartialEq for ModuleIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.module.implementation == other.module.implementation && self.view == other.view
    }
}

/// The value of an argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Null.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A string.
    String(Arc<str>),
    /// The name of an enum member.
    Enum(Arc<str>),
    /// A list.
    List(Box<[Literal]>),
    /// An input object.
    Object(Box<[(Arc<str>, Literal)]>),
    /// An object, by the call that gives it.
    Call(Arc<Call>),
}

/// Implicit inputs of calls that belong to one session, client or request.
const SESSION_SCOPED: [&str; 3] = ["session", "client", "nonce"];

impl CallSpec {
    /// A call of `field` that returns `returns`, with nothing else.
    pub fn new(returns: impl Into<Arc<str>>, field: impl Into<Arc<str>>) -> Self {
        Self {
            returns: returns.into(),
            field: field.into(),
            args: Vec::new(),
            nth: 0,
            view: None,
            module: None,
            identity: None,
            implicit: Vec::new(),
        }
    }

    /// The same with one more argument.
    #[must_use]
    pub fn arg(mut self, name: impl Into<Arc<str>>, value: Literal) -> Self {
        self.args.push((name.into(), value));
        self
    }

    /// Whether evaluating the field may start a process that speaks to the API: the code of a
    /// module, or a process that is given access.
    pub fn starts_process(&self) -> bool {
        let given = |(name, value): &(Arc<str>, Literal)| &**name == NESTING && *value == Literal::Bool(true);
        self.module.is_some() || self.args.iter().any(given)
    }

    /// Whether a process in a container asked for it, and it depends on who asks.
    pub fn from_nested_client(&self) -> bool {
        // Arguments of a module's function are named by its author.
        self.module.is_none() && self.args.iter().any(|(name, _)| &**name == NESTED_CLIENT)
    }

    /// Records as which module processes act that the field starts, if it may start any.
    pub fn act_as(&mut self, identity: Option<&Arc<ModuleIdentity>>) {
        self.identity = identity.filter(|_| self.starts_process()).cloned();
    }
}

impl Call {
    /// The call of `spec` on `receiver`; without a receiver it is a field of the root type.
    pub fn new(receiver: Option<Arc<Call>>, spec: CallSpec) -> Arc<Self> {
        let digest = digest(receiver.as_deref(), &spec);
        let starts_processes = spec.starts_process()
            || receiver.as_ref().is_some_and(|receiver| receiver.starts_processes)
            || spec.args.iter().any(|(_, value)| value.starts_processes());
        let session_scoped = receiver.as_ref().is_some_and(|receiver| receiver.session_scoped)
            || spec.implicit.iter().any(|(name, _)| SESSION_SCOPED.contains(&&**name))
            || spec.args.iter().any(|(_, value)| value.is_session_scoped());
        let from_nested_client =
            spec.from_nested_client() || receiver.as_ref().is_some_and(|receiver| receiver.from_nested_client);
        let CallSpec { returns, field, args, nth, view, module, identity, implicit } = spec;
        let plain = nth == 0 && view.is_none() && module.is_none() && identity.is_none() && implicit.is_empty();
        let rest = (!plain).then(|| Box::new(Rest { nth, view, module, identity, implicit: implicit.into() }));
        let args = args.into();
        Arc::new(Self {
            receiver,
            returns,
            field,
            args,
            rest,
            digest,
            starts_processes,
            session_scoped,
            from_nested_client,
        })
    }

    /// Whether the call, or one on whose result it is selected, is for a process in a container: it
    /// depends on who asks, and such a process asked.
    pub fn from_nested_client(&self) -> bool {
        self.from_nested_client
    }

    /// Whether the call, or one that it is made of, may start a process that speaks to the API.
    pub fn starts_processes(&self) -> bool {
        self.starts_processes
    }

    /// Whether the call, or one that it is made of, belongs to one session, client or request. Such
    /// a call is never asked for again.
    pub fn is_session_scoped(&self) -> bool {
        self.session_scoped
    }

    /// The element `nth` (counted from one) of the list that this call returns.
    pub fn element(&self, nth: u32) -> Arc<Self> {
        Self::new(self.receiver.clone(), CallSpec { nth, ..self.spec() })
    }

    /// The call whose value the field is selected on. `None` for fields of the root type.
    pub fn receiver(&self) -> Option<&Arc<Call>> {
        self.receiver.as_ref()
    }

    /// Everything except the receiver, to make another call of.
    pub fn spec(&self) -> CallSpec {
        CallSpec {
            returns: self.returns.clone(),
            field: self.field.clone(),
            args: self.args.to_vec(),
            nth: self.nth(),
            view: self.view().cloned(),
            module: self.module().cloned(),
            identity: self.identity().cloned(),
            implicit: self.implicit().to_vec(),
        }
    }

    /// The name of the type that the call returns.
    pub fn returns(&self) -> &Arc<str> {
        &self.returns
    }

    /// The field's name.
    pub fn field(&self) -> &Arc<str> {
        &self.field
    }

    /// The arguments that were given and differ from their defaults, in the order of the schema.
    pub fn args(&self) -> &[(Arc<str>, Literal)] {
        &self.args
    }

    /// The argument called `name`, when it was given and differs from its default.
    pub fn arg(&self, name: &str) -> Option<&Literal> {
        self.args.iter().find(|(found, _)| &**found == name).map(|(_, value)| value)
    }

    /// Counted from one: the element of the list that the field returns. Zero: the field's value
    /// itself.
    pub fn nth(&self) -> u32 {
        self.rest.as_ref().map_or(0, |rest| rest.nth)
    }

    /// The view, recorded only where the field's meaning depends on it.
    pub fn view(&self) -> Option<&Arc<str>> {
        self.rest.as_ref()?.view.as_ref()
    }

    /// The module that provides the field.
    pub fn module(&self) -> Option<&ModuleRef> {
        self.rest.as_ref()?.module.as_ref()
    }

    /// Inputs that no argument shows.
    pub fn implicit(&self) -> &[(Arc<str>, Arc<str>)] {
        self.rest.as_ref().map_or(&[], |rest| &rest.implicit)
    }

    /// The module as which processes act that the field starts. `None`: each is a client of its
    /// own.
    pub fn identity(&self) -> Option<&Arc<ModuleIdentity>> {
        self.rest.as_ref()?.identity.as_ref()
    }

    /// The recipe digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Literal {
    /// Adds the calls of the objects in it to `into`.
    pub fn calls(&self, into: &mut Vec<Arc<Call>>) {
        match self {
            Literal::Call(call) => into.push(call.clone()),
            Literal::List(items) => items.iter().for_each(|item| item.calls(into)),
            Literal::Object(fields) => fields.iter().for_each(|(_, value)| value.calls(into)),
            _ => {}
        }
    }

    fn is_session_scoped(&self) -> bool {
        match self {
            Literal::Call(call) => call.session_scoped,
            Literal::List(items) => items.iter().any(Literal::is_session_scoped),
            Literal::Object(fields) => fields.iter().any(|(_, value)| value.is_session_scoped()),
            _ => false,
        }
    }

    fn starts_processes(&self) -> bool {
        match self {
            Literal::Call(call) => call.starts_processes,
            Literal::List(items) => items.iter().any(Literal::starts_processes),
            Literal::Object(fields) => fields.iter().any(|(_, value)| value.starts_processes()),
            _ => false,
        }
    }
}

fn digest(receiver: Option<&Call>, spec: &CallSpec) -> Digest {
    let mut h = Hasher::new("call/v2");
    h.value(&receiver.map(|r| *r.digest().as_bytes()));
    // IDENTITY: the return type is not hashed; it follows from the receiver and the field.
    h.value(&*spec.field).value(&spec.nth).value(&spec.view.as_deref());
    h.value(&spec.module.as_ref().map(|m| *m.implementation.as_bytes()));
    h.value(&spec.identity.as_ref().map(|identity| *identity.digest().as_bytes()));
    h.value(&spec.args.len());
    for (name, value) in &spec.args {
        h.value(&**name);
        hash_literal(&mut h, value);
    }
    for (name, value) in &spec.implicit {
        h.value(&(&**name, &**value));
    }
    h.finish()
}

fn hash_literal(h: &mut Hasher, literal: &Literal) {
    match literal {
        Literal::Null => _ = h.value(&()),
        Literal::Bool(b) => _ = h.value(b),
        Literal::Int(i) => _ = h.value(i),
        Literal::Float(x) => _ = h.value(x),
        Literal::String(s) => _ = h.value(&**s),
        Literal::Enum(s) => _ = h.value(&("enum", &**s)),
        Literal::Call(call) => _ = h.value(&("call", call.digest().as_bytes())),
        Literal::List(items) => {
            h.value(&("list", items.len()));
            items.iter().for_each(|item| hash_literal(h, item));
        }
        Literal::Object(fields) => {
            h.value(&("object", fields.len()));
            for (name, value) in fields {
                h.value(&**name);
                hash_literal(h, value);
            }
        }
    }
}

/// Drops a chain of receivers one by one, so that a deep chain needs no deep stack.
impl Drop for Call {
    fn drop(&mut self) {
        let mut next = self.receiver.take();
        while let Some(call) = next {
            next = match Arc::try_unwrap(call) {
                Ok(mut call) => call.receiver.take(),
                Err(_) => None,
            };
        }
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({} -> {}, {})", self.field, self.returns, self.digest.short())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{SealKey, decode, encode};

    pub(crate) fn identity(name: &str, view: &str) -> Arc<ModuleIdentity> {
        let module = Call::new(None, CallSpec::new("Module", name));
        let implementation = Digest::of_bytes(name.as_bytes());
        Arc::new(ModuleIdentity { module: ModuleRef { module, implementation }, view: view.into() })
    }

    #[test]
    fn module_and_view_count_and_the_place_does_not() {
        let mine = identity("m", "v0.18.10");
        assert_ne!(mine.digest(), identity("m", "v0.21.8").digest());
        assert_ne!(mine.digest(), identity("n", "v0.18.10").digest());
        let mut moved = (*mine).clone();
        moved.module.module = Call::new(None, CallSpec::new("Module", "elsewhere"));
        assert_eq!((moved.digest(), &moved), (mine.digest(), &*mine));
    }

    #[test]
    fn every_part_but_the_location_of_the_module_counts() {
        let root = Call::new(None, CallSpec::new("Container", "container"));
        let base =
            CallSpec::new("Container", "withExec").arg("args", Literal::List([Literal::String("a".into())].into()));
        let here = Call::new(Some(root.clone()), base.clone()).digest();
        assert_ne!(here, Call::new(None, base.clone()).digest());
        let edits: [fn(&mut CallSpec); 6] = [
            |s| s.field = "with".into(),
            |s| s.args[0].1 = Literal::List([].into()),
            |s| s.nth = 1,
            |s| s.view = Some("v0.18.10".into()),
            |s| s.implicit.push(("client".into(), "c".into())),
            |s| s.identity = Some(identity("m", "v0.18.10")),
        ];
        for edit in edits {
            let mut spec = base.clone();
            edit(&mut spec);
            assert_ne!(here, Call::new(Some(root.clone()), spec).digest());
        }
        let with = |module: &Arc<Call>| {
            let mut spec = base.clone();
            spec.module = Some(ModuleRef { module: module.clone(), implementation: Digest::of_bytes(b"impl") });
            Call::new(Some(root.clone()), spec).digest()
        };
        let elsewhere = Call::new(None, CallSpec::new("Module", "elsewhere"));
        assert_eq!(with(&root), with(&elsewhere));
    }

    #[test]
    fn a_deep_chain_is_dropped_and_encoded_without_recursion() {
        let mut call = Call::new(None, CallSpec::new("Directory", "directory"));
        for i in 0..200_000 {
            let spec = CallSpec::new("Directory", "withNewFile").arg("path", Literal::Int(i));
            call = Call::new(Some(call), spec);
        }
        let key = SealKey::derived(&[7; 32]);
        let again = decode(&encode(&call, &key), &key).expect("decodes");
        assert_eq!(again.digest(), call.digest());
    }
}
