//! As which module a process acts that a call starts.

use rondel_digest::Digest;
use std::sync::Arc;

use crate::ModuleRef;

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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Call, CallSpec};

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
}
