//! Accounts whose balance was too low for an order: one probe for each account, not one for each instance that waits.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{api::Object, cloud::Account, queue::Queue};

/// A probe has ended by then, one way or the other.
const PROBE: Duration = Duration::from_secs(40);
const CAP: Duration = Duration::from_secs(900);

struct Low {
    /// The next probe; while one is under way, when it is given up.
    until: Instant,
    times: u32,
    /// Who waits, and the how-manieth to come.
    waiting: HashMap<Object, u64>,
    arrivals: u64,
}

impl Low {
    fn wait(&mut self, object: &Object) {
        self.arrivals += 1;
        self.waiting.entry(object.clone()).or_insert(self.arrivals);
    }

    /// All who wait, in order of arrival.
    fn in_order(self) -> Vec<Object> {
        let mut waiting: Vec<_> = self.waiting.into_iter().collect();
        waiting.sort_by_key(|(_, arrival)| *arrival);
        waiting.into_iter().map(|(object, _)| object).collect()
    }

    fn take_first(&mut self) -> Option<Object> {
        let first = self.waiting.iter().min_by_key(|(_, arrival)| **arrival)?.0.clone();
        self.waiting.remove(&first);
        Some(first)
    }
}

#[derive(Clone)]
pub struct Balances {
    first_wait: Duration,
    queue: Queue,
    low: Arc<Mutex<HashMap<Account, Low>>>,
}

/// Leave to try an order of an account. One that ends without word of the balance makes way for the next who waits.
pub struct Leave {
    balances: Balances,
    account: Account,
    /// The others wait for what comes of it.
    is_probe: bool,
}

impl Balances {
    /// `first_wait`: how long after a refusal the first probe is made; later ones wait longer, up to a quarter of an hour.
    pub fn new(first_wait: Duration, queue: Queue) -> Self {
        Self { first_wait, queue, low: Arc::default() }
    }

    /// Leave to try an order: if the balance was too low, as the one probe that is due.
    ///
    /// # Errors
    /// When to ask again.
    pub fn ask_leave(&self, account: &Account, object: &Object) -> Result<Leave, Instant> {
        let mut all = self.low.lock();
        let low = all.get_mut(account);
        let is_probe = low.is_some();
        if let Some(low) = low {
            let now = Instant::now();
            if low.until > now {
                low.wait(object);
                return Err(low.until);
            }
            low.until = now + PROBE;
        }
        Ok(Leave { balances: self.clone(), account: account.clone(), is_probe })
    }

    /// Nobody needs to be woken for this one any more.
    pub fn forget(&self, object: &Object) {
        for low in self.low.lock().values_mut() {
            low.waiting.remove(object);
        }
    }

    /// Leave by somebody's word, whatever is known of the balance.
    pub fn leave(&self, account: &Account) -> Leave {
        Leave { balances: self.clone(), account: account.clone(), is_probe: false }
    }
}

impl Leave {
    /// The order was refused for the balance. Of several that were under way at once only the first one says something new.
    pub fn refused(mut self) {
        let is_probe = std::mem::take(&mut self.is_probe);
        let mut all = self.balances.low.lock();
        let now = Instant::now();
        // Keys come and go; an account of which nothing was heard for so long is asked afresh.
        all.retain(|_, low| now < low.until + 2 * CAP);
        let new = || Low { until: now, times: 0, waiting: HashMap::new(), arrivals: 0 };
        let low = all.entry(self.account.clone()).or_insert_with(new);
        if is_probe || low.until <= now {
            low.until = now + self.balances.first_wait.saturating_mul(1 << low.times.min(10)).min(CAP);
            low.times += 1;
        }
    }

    /// The order came through: all who wait go on, in order.
    pub fn accepted(self) {
        if let Some(low) = self.balances.low.lock().remove(&self.account) {
            self.balances.queue.wake(low.in_order());
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut all = self.balances.low.lock();
        if let Some(low) = all.get_mut(&self.account).filter(|_| self.is_probe) {
            low.until = Instant::now();
            self.balances.queue.wake(low.take_first());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::testing::{self, account},
        index::Index,
    };

    fn balances() -> Balances {
        let index = Index::new(10);
        for name in ["first", "second", "next", "stays", "deleted"] {
            index.insert(&object(name), testing::instance(name, name, 1024), None, false);
        }
        Balances::new(Duration::from_secs(60), Queue::new(Arc::new(index), 32))
    }

    fn object(name: &str) -> Object {
        Object::new("shop", name)
    }

    async fn woken(balances: &Balances, count: usize) -> Vec<String> {
        let mut woken = Vec::new();
        for _ in 0..count {
            woken.push(balances.queue.next().await.name().to_owned());
        }
        woken
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_for_each_account_then_all_in_order() {
        let (balances, account) = (balances(), account("AKID1"));
        let (first, second) = (object("first"), object("second"));
        balances.ask_leave(&account, &first).expect("a good balance stops nobody").refused();
        for _ in 0..2 {
            assert!(balances.ask_leave(&account, &first).is_err());
            assert!(balances.ask_leave(&account, &second).is_err());
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        let probe = balances.ask_leave(&account, &second).expect("the probe");
        assert!(balances.ask_leave(&account, &first).is_err(), "just one");
        probe.refused();
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(balances.ask_leave(&account, &first).is_err(), "the second wait is longer");
        balances.leave(&account).accepted();
        assert_eq!(woken(&balances, 2).await, ["first", "second"]);
        assert!(balances.ask_leave(&account, &first).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_says_nothing_of_the_balance_makes_way_for_the_next() {
        let (balances, account) = (balances(), account("AKID1"));
        balances.leave(&account).refused();
        assert!(balances.ask_leave(&account, &object("next")).is_err());
        tokio::time::advance(Duration::from_secs(61)).await;
        drop(balances.ask_leave(&account, &object("other")));
        assert_eq!(woken(&balances, 1).await, ["next"]);
        assert!(balances.ask_leave(&account, &object("next")).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_went_by_somebodys_word_makes_way_for_nobody() {
        let (balances, account) = (balances(), account("AKID1"));
        balances.leave(&account).refused();
        drop(balances.leave(&account));
        assert!(balances.ask_leave(&account, &object("other")).is_err(), "not before its time");
        tokio::time::advance(Duration::from_secs(61)).await;
        let _probe = balances.ask_leave(&account, &object("first")).expect("the probe");
        drop(balances.leave(&account));
        assert!(balances.ask_leave(&account, &object("other")).is_err(), "while a probe is under way");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_deleted_waits_no_more() {
        let (balances, account) = (balances(), account("AKID1"));
        balances.leave(&account).refused();
        for name in ["deleted", "stays"] {
            assert!(balances.ask_leave(&account, &object(name)).is_err());
        }
        balances.forget(&object("deleted"));
        balances.leave(&account).accepted();
        assert_eq!(woken(&balances, 1).await, ["stays"]);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_of_orders_that_were_under_way_at_once_count_as_one() {
        let (balances, account) = (balances(), account("AKID1"));
        (0..32).for_each(|_| balances.leave(&account).refused());
        tokio::time::advance(Duration::from_secs(61)).await;
        let probe = balances.ask_leave(&account, &object("first")).expect("after the first wait");
        probe.refused();
        (0..32).for_each(|_| balances.leave(&account).refused());
        tokio::time::advance(Duration::from_secs(121)).await;
        assert!(balances.ask_leave(&account, &object("first")).is_ok(), "after the second wait");
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_of_which_nothing_is_heard_are_forgotten() {
        let balances = balances();
        balances.leave(&account("AKID1")).refused();
        tokio::time::advance(3 * CAP).await;
        balances.leave(&account("AKID2")).refused();
        assert_eq!(balances.low.lock().len(), 1);
    }
}
