//! How often an account, a region and an action may be called, and when to leave them alone. Never waits: it says when
//! to come back, so that one account's trouble is its own.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Account, Caller, CloudError, ErrorKind, Meaning, regions};

/// First and longest pause of an account and region that is throttled or doesn't answer; it doubles in between.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After a pause, how long one call's answer is waited for before another one may try.
const PROBE: Duration = Duration::from_secs(2);
/// The furthest place in a queue that is given out.
const LONGEST_QUEUE: Duration = Duration::from_secs(60);
/// While orders wait, one call in so many is for whatever else is asked.
const OTHERS: u32 = 40;
/// Idle entries are dropped each time that this many calls have asked.
const SWEEP: u32 = 1024;

/// `--cloud-rate` is out of its range.
#[derive(Debug, thiserror::Error)]
#[error("a rate of {0}: it is 0 (no limit), or from 0.001 to 1000 requests a second")]
pub struct RateError(f64);

type Place = (Account, String);
type Bucket = (Place, &'static str);
type Buckets = RateLimiter<Bucket, HashMapStateStore<Bucket>, TokioClock, NoOpMiddleware<Duration>>;

/// A token bucket for each account, region and action, and a pause for each account and region.
pub struct Limits {
    buckets: Option<Buckets>,
    clock: TokioClock,
    /// How long one token takes, and how many there are at most.
    period: Duration,
    burst: NonZeroU32,
    random: Box<dyn Fn() -> u64 + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pauses: HashMap<Place, Pause>,
    queues: HashMap<Bucket, Queue>,
    asked: u32,
}

impl State {
    fn queue(&mut self, place: &Place, action: &'static str, now: Instant) -> &mut Queue {
        self.queues.entry((place.clone(), action)).or_insert_with(|| Queue {
            orders: now,
            others: now,
            slow: now,
            turn: now,
            spare: 0,
            places: HashMap::new(),
        })
    }
}

/// What somebody wants to call.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// One call of each, together.
    pub actions: &'a [&'static str],
    /// It keeps its place if it comes back before.
    pub who: Option<&'a str>,
    /// What an order needs goes before all else that waits.
    pub ordering: bool,
}

/// Those that were turned away. The three moments are when the next one that is turned away may come back.
struct Queue {
    /// As long as this lies ahead, orders wait.
    orders: Instant,
    others: Instant,
    /// Of others that give way to orders.
    slow: Instant,
    /// From when on something else may go before the orders.
    turn: Instant,
    /// Taken and not used: for want of another action, or because there was nothing to order. Those who come next use these up first.
    spare: u32,
    /// Who has a place, until when, and whether as an order: it is told the same again if it comes back before.
    places: HashMap<String, (Instant, bool)>,
}

struct Pause {
    failures: u32,
    until: Instant,
    /// A call is on its way to find out whether it is over.
    probing: bool,
}

impl Limits {
    /// `rate` is in requests a second, for each account, region and action, with bursts of what a second gives; 0: no limit.
    /// `random` spreads those that come back.
    ///
    /// # Errors
    /// A rate that is neither 0 nor from 0.001 to 1000.
    pub fn new(rate: f64, random: impl Fn() -> u64 + Send + Sync + 'static) -> Result<Self, RateError> {
        if rate != 0.0 && !(0.001..=1000.0).contains(&rate) {
            return Err(RateError(rate));
        }
        let clock = TokioClock(Instant::now());
        let period = if rate == 0.0 { Duration::ZERO } else { Duration::from_secs_f64(1.0 / rate) };
        let burst = NonZeroU32::new(rate as u32).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period).map(|quota| quota.allow_burst(burst));
        let buckets = quota.map(|quota| RateLimiter::new(quota, HashMapStateStore::default(), clock));
        Ok(Self { buckets, clock, period, burst, random: Box::new(random), state: Mutex::default() })
    }

    /// How long one waits between two of many calls that leave a fifth of the rate, and the burst, to the others.
    pub fn pace(&self) -> Duration {
        self.period + self.period / 4
    }

    /// Takes the right to make these calls, or says how long to stay away.
    pub fn try_take_all(&self, caller: &Caller, ask: Ask<'_>) -> Result<(), Duration> {
        let now = Instant::now();
        let mut state = self.state.lock();
        self.sweep(&mut state, now);
        let place = place(caller);
        if let Some(pause) = state.pauses.get(&place).filter(|pause| now < pause.until) {
            let left = pause.until - now;
            return Err(left + self.up_to(left.min(FIRST_PAUSE)));
        }
        for (index, action) in ask.actions.iter().enumerate() {
            let refused = self.try_take_one(state.queue(&place, action, now), (&place, action), ask, now);
            if refused.is_err() {
                ask.actions.iter().take(index).for_each(|taken| self.spare(state.queue(&place, taken, now)));
                return refused;
            }
        }
        if let Some(pause) = state.pauses.get_mut(&place) {
            // One goes first, so that no herd falls on a cloud that just came back.
            pause.probing = true;
            pause.until = now + PROBE;
        }
        Ok(())
    }

    /// The right to make a call was not used.
    pub fn give_back(&self, caller: &Caller, action: &'static str) {
        self.spare(self.state.lock().queue(&place(caller), action, Instant::now()));
    }

    fn spare(&self, queue: &mut Queue) {
        queue.spare = (queue.spare + 1).min(self.burst.get());
    }

    fn try_take_one(
        &self,
        queue: &mut Queue,
        (place, action): (&Place, &'static str),
        Ask { who, ordering, .. }: Ask<'_>,
        now: Instant,
    ) -> Result<(), Duration> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        if let Some(who) = who {
            match queue.places.get(who) {
                Some((until, as_order)) if now < *until && *as_order == ordering => return Err(*until - now),
                _ => queue.places.remove(who),
            };
        }
        let gives_way = !ordering && now < queue.orders;
        let others_turn = self.period * OTHERS;
        let free = match queue.turn {
            turn if gives_way && now < turn => turn,
            _ if queue.spare > 0 => {
                queue.spare -= 1;
                return Ok(());
            }
            _ => match buckets.check_key(&(place.clone(), action)) {
                Ok(()) => {
                    if gives_way {
                        queue.turn = now + others_turn;
                    }
                    return Ok(());
                }
                Err(not_until) => now + not_until.wait_time_from(self.clock.now()),
            },
        };
        if ordering && queue.orders <= now {
            queue.turn = now + others_turn;
        }
        // Each of those turned away gets a place of its own, or all would come back for the same token.
        let (next, period) = match (ordering, gives_way) {
            (true, _) => (&mut queue.orders, self.period),
            (false, true) => (&mut queue.slow, others_turn),
            (false, false) => (&mut queue.others, self.period),
        };
        let mut until = free.max(*next).min(now + LONGEST_QUEUE);
        *next = until + period;
        if gives_way {
            // Nobody waits for orders that have gone.
            until = until.min(queue.orders);
        }
        if let Some(who) = who {
            queue.places.insert(who.to_owned(), (until, ordering));
        }
        Err(until - now)
    }

    /// Learns from what came of a call: throttled, failing as a whole or unreachable, its account and region pause, for
    /// longer each time; an answer ends that. Returns the pause if one begins.
    pub fn learn<T>(&self, caller: &Caller, outcome: &Result<T, CloudError>) -> Option<Duration> {
        let now = Instant::now();
        let place = place(caller);
        let mut state = self.state.lock();
        let known = state.pauses.get(&place);
        // Of many calls under way at once each says the same: only what was sent since the pause says something new.
        if known.is_some_and(|pause| now < pause.until && !pause.probing) {
            return None;
        }
        if is_trouble(outcome)? {
            let failures = known.map_or(0, |pause| pause.failures);
            let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
            let pause = pause / 2 + self.up_to(pause / 2);
            state.pauses.insert(place, Pause { failures: failures + 1, until: now + pause, probing: false });
            return Some(pause);
        }
        state.pauses.remove(&place);
        None
    }

    fn up_to(&self, most: Duration) -> Duration {
        most.mul_f64((self.random)() as f64 / u64::MAX as f64)
    }

    /// Accounts come and go; what is over is dropped.
    fn sweep(&self, state: &mut State, now: Instant) {
        state.asked += 1;
        if state.asked < SWEEP {
            return;
        }
        state.asked = 0;
        state.queues.retain(|_, queue| {
            queue.places.retain(|_, (until, _)| now < *until);
            now < queue.orders.max(queue.others).max(queue.slow).max(queue.turn)
        });
        state.pauses.retain(|_, pause| now < pause.until + LONGEST_PAUSE);
        if let Some(buckets) = &self.buckets {
            buckets.retain_recent();
        }
    }
}

/// Both forms of a region are one place.
fn place(caller: &Caller) -> Place {
    (caller.account.clone(), regions::short(&caller.region).to_owned())
}

/// Whether this says that the cloud wants, or needs, to be left alone; `None` when it says nothing about that.
fn is_trouble<T>(outcome: &Result<T, CloudError>) -> Option<bool> {
    match outcome {
        Err(CloudError { kind: ErrorKind::Code(meaning), .. }) => {
            Some(matches!(meaning, Meaning::Throttled | Meaning::Trouble))
        }
        // One odd row, or our own slowness, is no reason to leave everybody else waiting.
        Err(CloudError { code_desc, .. }) if code_desc == "Doubtful" || code_desc == "TooLate" => None,
        Err(_) => Some(true),
        Ok(_) => Some(false),
    }
}

/// Tokio's clock, so that tests can turn it.
#[derive(Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Credentials;
    use super::*;

    fn caller(secret_id: &str, region: &str) -> Caller {
        let secret_key = "key".to_owned().into();
        Caller::new(Credentials { secret_id: secret_id.into(), secret_key, token: None }, region.into())
    }

    impl Limits {
        fn take(
            &self,
            caller: &Caller,
            actions: &[&'static str],
            who: Option<&str>,
            ordering: bool,
        ) -> Result<(), Duration> {
            self.try_take_all(caller, Ask { actions, who, ordering })
        }

        fn try_take(&self, caller: &Caller, action: &'static str) -> Result<(), Duration> {
            self.take(caller, &[action], None, false)
        }

        fn try_order(&self, caller: &Caller, action: &'static str) -> Result<(), Duration> {
            self.take(caller, &[action], None, true)
        }
    }

    fn limits(rate: f64) -> Limits {
        Limits::new(rate, || 0).unwrap()
    }

    fn throttled() -> Result<(), CloudError> {
        Err(CloudError {
            kind: ErrorKind::Code(Meaning::Throttled),
            code: Some(4400),
            ..CloudError::no_answer("QuotaExceeded", "")
        })
    }

    fn failed(word: &str) -> Result<(), CloudError> {
        Err(CloudError::no_answer(word, ""))
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_a_burst_and_then_its_rate() {
        let (limits, caller) = (limits(4.0), caller("a", "gz"));
        for _ in 0..4 {
            assert_eq!(limits.try_take(&caller, "DescribeRedis"), Ok(()));
        }
        let wait = limits.try_take(&caller, "DescribeRedis").unwrap_err();
        assert_eq!(wait, Duration::from_millis(250));
        tokio::time::advance(wait).await;
        assert_eq!(limits.try_take(&caller, "DescribeRedis"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn each_account_region_and_action_has_a_bucket_of_its_own() {
        let limits = limits(1.0);
        for (id, region, action) in [("a", "gz", "X"), ("b", "gz", "X"), ("a", "sh", "X"), ("a", "gz", "Y")] {
            assert_eq!(limits.try_take(&caller(id, region), action), Ok(()));
            assert!(limits.try_take(&caller(id, region), action).is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_a_look_and_its_order_are_one_probe() {
        let (limits, caller) = (limits(0.0), caller("a", "gz"));
        let pause = limits.learn(&caller, &throttled()).unwrap();
        tokio::time::advance(pause).await;
        assert_eq!(limits.take(&caller, &["DescribeRedis", "UpgradeRedis"], None, true), Ok(()));
        assert!(limits.try_take(&caller, "DescribeRedis").is_err(), "everybody else waits for what becomes of it");
    }

    #[tokio::test(start_paused = true)]
    async fn both_forms_of_a_region_share_a_bucket() {
        let limits = limits(1.0);
        assert_eq!(limits.try_take(&caller("a", "gz"), "X"), Ok(()));
        assert!(limits.try_take(&caller("a", "ap-guangzhou"), "X").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn those_turned_away_come_back_one_by_one() {
        let (limits, caller) = (limits(2.0), caller("a", "gz"));
        assert!((0..2).all(|_| limits.try_take(&caller, "X").is_ok()));
        let mut waits: Vec<_> = (0..10).map(|_| limits.try_take(&caller, "X").unwrap_err()).collect();
        let start = Instant::now();
        waits.sort();
        for wait in waits {
            tokio::time::advance(start + wait - Instant::now()).await;
            assert_eq!(limits.try_take(&caller, "X"), Ok(()), "after {wait:?}");
        }
        for _ in 0..1000 {
            assert!(limits.try_take(&caller, "X").unwrap_err() <= LONGEST_QUEUE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_goes_before_all_else_that_waits() {
        let (limits, caller) = (limits(10.0), caller("a", "gz"));
        assert!((0..10).all(|_| limits.try_take(&caller, "X").is_ok()));
        assert!((0..50).all(|_| limits.try_take(&caller, "X").is_err()));
        let wait = limits.try_order(&caller, "X").unwrap_err();
        assert_eq!(wait, Duration::from_millis(100), "the next one is for it");
        tokio::time::advance(wait - Duration::from_millis(1)).await;
        assert!(limits.try_take(&caller, "X").is_err(), "nobody takes it away");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(limits.try_order(&caller, "X"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_in_vain_is_the_next_ones() {
        let (limits, caller) = (limits(1.0), caller("a", "gz"));
        assert_eq!(limits.try_order(&caller, "Y"), Ok(()));
        let both = || limits.take(&caller, &["X", "Y"], None, true);
        assert!(both().is_err() && both().is_err(), "there is no Y");
        assert_eq!(limits.try_take(&caller, "X"), Ok(()), "an X is left");
        assert!(limits.try_take(&caller, "X").is_err(), "one, not two");
        limits.give_back(&caller, "X");
        assert_eq!(limits.try_take(&caller, "X"), Ok(()), "nor was that used");
        (0..100).for_each(|_| limits.give_back(&caller, "X"));
        assert_eq!(limits.try_take(&caller, "X"), Ok(()));
        assert!(limits.try_take(&caller, "X").is_err(), "no more than the bucket holds");
    }

    #[tokio::test(start_paused = true)]
    async fn many_orders_use_nearly_all_of_the_rate_and_leave_some_to_what_else_is_asked() {
        let (limits, caller) = (limits(10.0), caller("a", "gz"));
        for action in ["X", "Y"] {
            assert!((0..10).all(|_| limits.try_take(&caller, action).is_ok()));
        }
        // Who was told to come back, and when: 300 orders, and as many others, which never end.
        let start = Instant::now();
        let mut all: Vec<_> = (0..600).map(|n| (start + Duration::from_millis(10) * n, n)).collect();
        let (mut orders, mut others, mut at_last_order) = (0, 0, start);
        while let Some((index, (at, number))) = all.iter().copied().enumerate().min_by_key(|(_, (at, _))| *at) {
            tokio::time::advance(at.saturating_duration_since(Instant::now())).await;
            let ordering = number % 2 == 0;
            let actions = if ordering { &["X", "Y"][..] } else { &["X"] };
            let ask = || limits.take(&caller, actions, Some(&number.to_string()), ordering);
            match ask() {
                Ok(()) => {
                    all.swap_remove(index);
                    orders += u32::from(ordering);
                    others += u32::from(!ordering && orders < 300);
                    if orders == 300 && ordering {
                        at_last_order = Instant::now();
                    }
                }
                Err(wait) => {
                    // Something else wakes it before its time: it keeps its place.
                    assert_eq!(ask(), Err(wait));
                    all[index].0 = Instant::now() + wait;
                }
            }
        }
        let took = (at_last_order - start).as_secs_f64();
        assert!(took <= 300.0 / 10.0 / 0.96, "{took} s");
        assert!((5..=12).contains(&others), "{others}");
        let rest = at_last_order.elapsed().as_secs_f64();
        assert!(rest <= 300.0 / 10.0 / 0.9, "when the orders have gone the others have all of the rate: {rest} s");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_only_pauses_hold_back() {
        let (limits, caller) = (limits(0.0), caller("a", "gz"));
        assert!((0..10_000).all(|_| limits.try_take(&caller, "X").is_ok()));
        assert_eq!(limits.learn(&caller, &throttled()), Some(FIRST_PAUSE / 2));
        assert_eq!(limits.try_take(&caller, "X"), Err(FIRST_PAUSE / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_pauses_that_account_and_region_alone_and_longer_each_time() {
        let (limits, caller) = (limits(0.0), caller("a", "gz"));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert_eq!(limits.try_take(&caller, "X"), Ok(()));
            pauses.push(limits.learn(&caller, &throttled()).unwrap().as_millis());
            assert!(limits.try_take(&caller, "Y").is_err());
            assert_eq!(limits.try_take(&self::caller("a", "sh"), "X"), Ok(()));
            assert_eq!(limits.try_take(&self::caller("b", "gz"), "X"), Ok(()));
            tokio::time::advance(limits.try_take(&caller, "X").unwrap_err()).await;
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn many_calls_in_trouble_at_once_count_as_one() {
        let (limits, caller) = (limits(0.0), caller("a", "gz"));
        assert!(limits.learn(&caller, &throttled()).is_some());
        assert!((0..50).all(|_| limits.learn(&caller, &throttled()).is_none()));
        // Nor does one that was answered before the trouble began end the pause.
        assert_eq!(limits.learn(&caller, &Ok(())), None);
        assert!(limits.try_take(&caller, "X").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_goes_first_and_its_answer_lets_the_others_in() {
        let (limits, caller) = (limits(0.0), caller("a", "gz"));
        limits.learn(&caller, &failed("Timeout"));
        tokio::time::advance(FIRST_PAUSE).await;
        assert_eq!(limits.try_take(&caller, "X"), Ok(()));
        assert!((0..100).all(|_| limits.try_take(&caller, "X").is_err()));
        limits.learn(&caller, &Ok(()));
        assert!((0..100).all(|_| limits.try_take(&caller, "X").is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_concerns_one_call_only_pauses_nobody() {
        let (limits, caller) = (limits(0.0), caller("a", "gz"));
        let refused = CloudError {
            kind: ErrorKind::Code(Meaning::NoShrink),
            code: Some(11057),
            ..CloudError::no_answer("X", "")
        };
        for outcome in [failed("Doubtful"), failed("TooLate"), Err(refused), Ok(())] {
            assert_eq!(limits.learn(&caller, &outcome), None);
            assert_eq!(limits.try_take(&caller, "X"), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_accounts_are_forgotten() {
        let limits = limits(1.0);
        for n in 0..3 * SWEEP {
            let caller = caller(&n.to_string(), "gz");
            let _ = limits.try_take(&caller, "X");
            let _ = limits.try_take(&caller, "X");
            limits.learn(&caller, &throttled());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let state = limits.state.lock();
        let kept = state.pauses.len().max(state.queues.len()).max(limits.buckets.as_ref().unwrap().len());
        assert!(kept <= SWEEP as usize, "{kept}");
    }

    #[test]
    fn a_rate_out_of_range_is_refused() {
        for rate in [-1.0, f64::NAN, f64::INFINITY, 1e-9, 1e9] {
            assert!(Limits::new(rate, || 0).is_err(), "{rate}");
        }
    }
}
