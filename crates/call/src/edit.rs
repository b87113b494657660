//! Changes calls inside a recipe and returns the new recipe. The old recipe stays as it is.
//!
//! Every call that the recipe consists of may be changed: receivers, and calls in arguments, also
//! inside lists and objects. Recipes of modules that provide fields are not changed. Calls that
//! stay equal are shared with the old recipe. A changed call has a new digest, and so has every
//! call that is built on it.

use std::collections::HashMap;
use std::sync::Arc;

use rondel_digest::Digest;

use crate::recipe::{Call, CallSpec, Literal, ModuleIdentity};

impl Call {
    /// The recipe with every process that it starts acting as `identity`.
    #[must_use]
    pub fn acting_as(self: &Arc<Self>, identity: Option<&Arc<ModuleIdentity>>) -> Arc<Self> {
        if self.starts_processes() { edited(self, &|spec| spec.act_as(identity)) } else { self.clone() }
    }

    /// The recipe with every meaning that depends on the view taken from `view`, except inside of
    /// modules.
    #[must_use]
    pub fn seen_under(self: &Arc<Self>, view: &Arc<str>) -> Arc<Self> {
        edited(self, &|spec| {
            if spec.view.is_some() && spec.module.is_none() {
                spec.view = Some(view.clone());
            }
        })
    }
}

/// The recipe of `call` with `edit` applied to each of its calls, dependencies first, each distinct
/// call once. Calls that nothing changes are shared. The recipes of modules that provide fields are
/// not edited.
pub fn edited(call: &Arc<Call>, edit: &dyn Fn(&mut CallSpec)) -> Arc<Call> {
    let mut done: HashMap<Digest, Arc<Call>> = HashMap::new();
    let mut stack = vec![(call.clone(), false)];
    while let Some((call, ready)) = stack.pop() {
        if done.contains_key(&call.digest()) {
            continue;
        }
        if ready {
            let result = rebuilt(&call, &done, edit);
            done.insert(call.digest(), result);
            continue;
        }
        let mut needs: Vec<Arc<Call>> = call.receiver().cloned().into_iter().collect();
        call.args().iter().for_each(|(_, value)| value.calls(&mut needs));
        stack.push((call, true));
        stack.extend(needs.into_iter().map(|need| (need, false)));
    }
    done.remove(&call.digest()).unwrap_or_else(|| call.clone())
}

fn rebuilt(call: &Arc<Call>, done: &HashMap<Digest, Arc<Call>>, edit: &dyn Fn(&mut CallSpec)) -> Arc<Call> {
    let mut spec = call.spec();
    spec.args.iter_mut().for_each(|(_, value)| replace(value, done));
    edit(&mut spec);
    let receiver = call.receiver().map(|receiver| done.get(&receiver.digest()).unwrap_or(receiver).clone());
    if spec == call.spec() && receiver.as_ref() == call.receiver() {
        return call.clone();
    }
    Call::new(receiver, spec)
}

fn replace(value: &mut Literal, done: &HashMap<Digest, Arc<Call>>) {
    match value {
        Literal::Call(call) => {
            if let Some(new) = done.get(&call.digest()) {
                *call = new.clone();
            }
        }
        Literal::List(items) => items.iter_mut().for_each(|item| replace(item, done)),
        Literal::Object(fields) => fields.iter_mut().for_each(|(_, value)| replace(value, done)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use rondel_digest::Digest;

    use super::*;
    use crate::recipe::tests::identity;
    use crate::recipe::{ModuleRef, NESTING};

    fn exec(receiver: Option<Arc<Call>>, nested: bool) -> Arc<Call> {
        let mut spec = CallSpec::new("Container", "withExec");
        if nested {
            spec = spec.arg(NESTING, Literal::Bool(true));
        }
        Call::new(receiver, spec)
    }

    fn module() -> Arc<ModuleIdentity> {
        identity("m", "v0.18.10")
    }

    #[test]
    fn processes_act_as_the_module_wherever_they_hide() {
        let plain = exec(None, false);
        assert!(Arc::ptr_eq(&plain.acting_as(Some(&module())), &plain));
        let nested = exec(Some(plain.clone()), true);
        let file = Call::new(Some(nested.clone()), CallSpec::new("File", "file"));
        let list = Literal::List([Literal::Object([("x".into(), Literal::Call(file.clone()))].into())].into());
        let outer = Call::new(Some(plain.clone()), CallSpec::new("Directory", "withFiles").arg("sources", list));
        let spoken = outer.acting_as(Some(&module()));
        assert_ne!(spoken.digest(), outer.digest());
        assert_eq!(spoken.acting_as(None).digest(), outer.digest());
        assert!(spoken.starts_processes() && outer.starts_processes());
        assert!(Arc::ptr_eq(&spoken.acting_as(Some(&module())), &spoken));
        assert!(Arc::ptr_eq(spoken.receiver().expect("a receiver"), &plain));
    }

    #[test]
    fn code_of_modules_is_such_a_process() {
        let mut spec = CallSpec::new("Tool", "tool");
        spec.module = Some(ModuleRef { module: exec(None, false), implementation: Digest::of_bytes(b"x") });
        let call = Call::new(None, spec);
        assert_eq!(call.acting_as(Some(&module())).identity(), Some(&module()));
    }

    #[test]
    fn views_change_where_they_are_recorded() {
        let old: Arc<str> = "v0.18.10".into();
        let mut spec = CallSpec::new("TypeDef", "withEnumMember");
        spec.view = Some("v0.21.8".into());
        let base = Call::new(None, CallSpec::new("TypeDef", "typeDef"));
        let member = Call::new(Some(base.clone()), spec);
        let module = CallSpec::new("Module", "withEnum").arg("enum", Literal::Call(member));
        let seen = Call::new(None, module).seen_under(&old);
        let Literal::Call(member) = &seen.args()[0].1 else { panic!("an argument that is a call") };
        assert_eq!(member.view(), Some(&old));
        assert_eq!(member.receiver(), Some(&base));
        assert_eq!(base.seen_under(&old).digest(), base.digest());
    }

    #[test]
    fn deep_chains_need_no_deep_stack() {
        let mut call = exec(None, true);
        for _ in 0..100_000 {
            call = exec(Some(call), false);
        }
        let spoken = call.acting_as(Some(&module()));
        assert_eq!(spoken.acting_as(None).digest(), call.digest());
    }
}
