//! How often one may call: 3.0 takes so many calls in a second for one account, region and action.

use std::collections::HashMap;

use jiff::Timestamp;

#[derive(Debug)]
pub(super) struct Rate {
    /// 0: none.
    limit: u32,
    /// Of the cloud's clock. Only the calls of this one second are kept, so they are never many.
    second: i64,
    calls: HashMap<(String, String, &'static str), u32>,
}

impl Rate {
    pub fn new(limit: u32) -> Self {
        Rate { limit, second: 0, calls: HashMap::new() }
    }

    /// Counts a call, and says whether it may go on.
    pub fn admit(&mut self, account: &str, region: &str, action: &'static str, now: Timestamp) -> bool {
        if self.limit == 0 {
            return true;
        }
        if now.as_second() != self.second {
            self.second = now.as_second();
            self.calls.clear();
        }
        let calls = self.calls.entry((account.into(), region.into(), action)).or_default();
        *calls += 1;
        *calls <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_region_and_action_has_its_own_limit_and_each_second_a_new_one() {
        let mut rate = Rate::new(2);
        let mut admit = |account, region, action, millis| {
            rate.admit(account, region, action, Timestamp::from_millisecond(millis).unwrap())
        };
        assert_eq!([0, 500, 999].map(|millis| admit("me", "gz", "x", millis)), [true, true, false]);
        assert!(admit("you", "gz", "x", 999) && admit("me", "sh", "x", 999) && admit("me", "gz", "y", 999));
        assert!(admit("me", "gz", "x", 1000));
    }

    #[test]
    fn no_limit_is_0() {
        let mut rate = Rate::new(0);
        assert!((0..100).all(|_| rate.admit("me", "gz", "x", Timestamp::UNIX_EPOCH)));
    }
}
