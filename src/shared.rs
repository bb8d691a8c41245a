//! Values of which many are alike: each is kept once.

use std::{collections::HashSet, hash::Hash, sync::Arc};

pub struct Shared<T>(HashSet<Arc<T>>);

impl<T: Eq + Hash> Shared<T> {
    pub fn get(&mut self, value: T) -> Arc<T> {
        if let Some(known) = self.0.get(&value) {
            return known.clone();
        }
        // Before it grows: so it is never much larger than what is in use.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|value| Arc::strong_count(value) > 1);
        }
        let value = Arc::new(value);
        self.0.insert(value.clone());
        value
    }

    /// Those in use.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.iter().filter(|value| Arc::strong_count(value) > 1)
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(HashSet::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_kept_once_and_what_nobody_uses_any_more_is_let_go() {
        let mut shared = Shared::default();
        let one = shared.get("one".to_owned());
        assert!(Arc::ptr_eq(&one, &shared.get("one".to_owned())));
        for number in 0..1000 {
            shared.get(number.to_string());
        }
        assert!(shared.0.len() < 10, "{}", shared.0.len());
        assert_eq!(shared.iter().collect::<Vec<_>>(), [&one]);
    }
}
