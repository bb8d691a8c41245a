//! Which `RedisInstance`: small to keep, and cheap to hand on.

use std::{fmt, sync::Arc};

use kube::ResourceExt;

use super::RedisInstance;

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// With the one sign between them that neither can have.
    path: Arc<str>,
}

impl Object {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { path: format!("{namespace}/{name}").into() }
    }

    pub fn of(instance: &RedisInstance) -> Self {
        Self::new(instance.metadata.namespace.as_deref().unwrap_or_default(), &instance.name_any())
    }

    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    pub fn name(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.path.split_once('/').unwrap_or_default()
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}
