//! Accounts whose balance was too low for an order: one probe for each account, not one for each instance that waits.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use crate::{api::RedisInstance, cloud::Account};

type Object = ObjectRef<RedisInstance>;

/// A probe has ended by then, one way or the other.
const PROBE: Duration = Duration::from_secs(40);
const CAP: Duration = Duration::from_secs(900);

struct Low {
    /// The next probe.
    until: Instant,
    /// One is under way.
    probing: bool,
    times: u32,
    /// Who waits, in order of arrival.
    waiting: Vec<Object>,
}

pub struct Balances {
    first_wait: Duration,
    low: Mutex<HashMap<Account, Low>>,
}

impl Balances {
    /// `first_wait`: how long after a refusal the first probe is made; later ones wait longer, up to a quarter of an hour.
    pub fn new(first_wait: Duration) -> Self {
        Self { first_wait, low: Mutex::default() }
    }

    /// May an order of this account be tried now? `None`: yes, and if the balance was low this is the probe. Else: when to ask again.
    pub fn closed_until(&self, account: &Account, object: &Object) -> Option<Instant> {
        let mut low = self.lock();
        let low = low.get_mut(account)?;
        let now = Instant::now();
        if low.until <= now {
            low.until = now + PROBE;
            low.probing = true;
            return None;
        }
        if !low.waiting.contains(object) {
            low.waiting.push(object.clone());
        }
        Some(low.until)
    }

    /// An order was refused for the balance. Of several that were under way at once only the first one says something new.
    pub fn refused(&self, account: &Account) {
        let mut all = self.lock();
        let now = Instant::now();
        // Keys come and go; an account of which nothing was heard for so long is asked afresh.
        all.retain(|_, low| now < low.until + 2 * CAP);
        let new = || Low { until: now, probing: true, times: 0, waiting: Vec::new() };
        let low = all.entry(account.clone()).or_insert_with(new);
        if low.probing || low.until <= now {
            low.until = now + self.first_wait.saturating_mul(1 << low.times.min(10)).min(CAP);
            low.times += 1;
            low.probing = false;
        }
    }

    /// An order came through, or was refused for another reason: returns those who wait, in order.
    pub fn opened(&self, account: &Account) -> Vec<Object> {
        self.lock().remove(account).map(|low| low.waiting).unwrap_or_default()
    }

    /// A panic elsewhere leaves at worst a probe too few or too many.
    fn lock(&self) -> MutexGuard<'_, HashMap<Account, Low>> {
        self.low.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::cloud::{Caller, Credentials};

    #[tokio::test(start_paused = true)]
    async fn refusals_of_orders_that_were_under_way_at_once_count_as_one() {
        let account = account();
        let balances = Balances::new(Duration::from_secs(60));
        let object = Object::new("first").within("shop");
        (0..32).for_each(|_| balances.refused(&account));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(balances.closed_until(&account, &object), None, "the probe, after the first wait");
        (0..32).for_each(|_| balances.refused(&account));
        tokio::time::advance(Duration::from_secs(121)).await;
        assert_eq!(balances.closed_until(&account, &object), None, "the next, after the second wait");
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_of_which_nothing_is_heard_are_forgotten() {
        let balances = Balances::new(Duration::from_secs(60));
        balances.refused(&account());
        tokio::time::advance(3 * CAP).await;
        let other = Credentials { secret_id: "AKID2".into(), secret_key: SecretString::from("key"), token: None };
        balances.refused(&Caller::new(other, "gz".into()).account);
        assert_eq!(balances.lock().len(), 1);
    }

    fn account() -> Account {
        let key = Credentials { secret_id: "AKID1".into(), secret_key: SecretString::from("key"), token: None };
        Caller::new(key, "gz".into()).account
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_for_each_account_then_all_in_order() {
        let account = account();
        let (first, second) = (Object::new("first").within("shop"), Object::new("second").within("shop"));
        let balances = Balances::new(Duration::from_secs(60));
        assert_eq!(balances.closed_until(&account, &first), None, "a good balance stops nobody");
        balances.refused(&account);
        for _ in 0..2 {
            assert!(balances.closed_until(&account, &first).is_some());
            assert!(balances.closed_until(&account, &second).is_some());
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(balances.closed_until(&account, &second), None, "the probe");
        assert!(balances.closed_until(&account, &first).is_some(), "just one");
        balances.refused(&account);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(balances.closed_until(&account, &first).is_some(), "the second wait is longer");
        assert_eq!(balances.opened(&account), [first.clone(), second]);
        assert_eq!(balances.closed_until(&account, &first), None);
    }
}
