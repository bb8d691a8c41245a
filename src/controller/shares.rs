//! No account takes more than its share of the workers: one whose cloud hangs must not keep the others waiting.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::cloud::Account;

pub(super) struct Shares {
    /// The most workers of one account.
    most: usize,
    taken: Mutex<HashMap<Account, usize>>,
}

/// One worker, for one account, until it is dropped.
pub(super) struct Share {
    of: Arc<Shares>,
    account: Account,
}

impl Shares {
    /// A quarter of the workers for each.
    pub(super) fn of(workers: u16) -> Self {
        Self { most: usize::from(workers).div_ceil(4), taken: Mutex::default() }
    }

    /// `None` when this account has its share already.
    pub(super) fn take(self: &Arc<Self>, account: &Account) -> Option<Share> {
        let mut all = self.lock();
        let taken = all.entry(account.clone()).or_default();
        if *taken >= self.most {
            return None;
        }
        *taken += 1;
        Some(Share { of: self.clone(), account: account.clone() })
    }

    /// A panic elsewhere can't leave a count half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<Account, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.of.lock();
        match all.get_mut(&self.account) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => drop(all.remove(&self.account)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::{Caller, Credentials};

    fn account(id: &str) -> Account {
        let secret_key = "key".to_owned().into();
        Caller::new(Credentials { secret_id: id.into(), secret_key, token: None }, "gz".into()).account
    }

    #[test]
    fn one_account_gets_a_quarter_and_gives_it_back() {
        let shares = Arc::new(Shares::of(32));
        let mut taken: Vec<_> = (0..8).map(|_| shares.take(&account("a")).unwrap()).collect();
        assert!(shares.take(&account("a")).is_none());
        assert!(shares.take(&account("b")).is_some(), "another account has its own");
        taken.pop();
        assert!(shares.take(&account("a")).is_some());
        taken.clear();
        assert!(shares.lock().is_empty(), "nothing is kept of accounts at rest");
        assert!(Arc::new(Shares::of(1)).take(&account("a")).is_some(), "a single worker serves everybody");
    }
}
