//! What goes wrong between a process and the cloud: what becomes of an order on its way, of a read, of the Date of an answer.

use jiff::{SignedDuration, Timestamp};

use super::{
    broken::{Broken, TOGETHER},
    vendor::Request,
    world::{Millis, State, at},
};
use crate::cloud::{Accepted, CloudError, ErrorKind, Meaning, meaning};

/// What the cloud says, and how long that takes.
pub(super) type Said<T> = (Result<T, CloudError>, Millis);

const AT_FIRST: Millis = 20_000;

/// The request of a process that began then comes to a front end. Returns the Date of its answer: by that one's clock, whole seconds, and now and then a wild one.
pub(super) fn front_end(state: &mut State, now: Millis, who: &str, began: Millis) -> Timestamp {
    state.vendor.come_to_a_front_end(now, Some(who), &mut state.chance);
    if state.vendor.ahead < -(state.vendor.nature.apart as i64) {
        state.struck("cloud: a clock that is far behind");
    }
    match state.plan.broken {
        // Those that a process meets at first, but for the very first one, whose orders are signed right.
        Broken::ClocksTogether if began > 0 && now < began + AT_FIRST => {
            state.vendor.ahead += TOGETHER.as_millis() as i64;
        }
        Broken::SmallSteps => {
            state.vendor.stepped = (state.vendor.stepped + 60_000).min(600_000);
            state.vendor.ahead += state.vendor.stepped;
        }
        _ => {}
    }
    let mut ahead = state.vendor.ahead;
    if !state.is_calm() && state.chance.below(1000) < state.plan.wild_dates {
        state.struck("cloud: a wild Date");
        let far = state.chance.pick(&[100, 200, 400, 3600, 3 * 3600, 365 * 86_400]);
        let far = far * if state.chance.percent(50) { 1 } else { -1 };
        // Two that agree are a clock: another fault (`vendor::Behind`).
        state.wild = if far == state.wild { -far } else { far };
        ahead += 1000 * state.wild;
    }
    let time = at(now) + SignedDuration::from_millis(ahead);
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// What becomes of an order on its way.
pub(super) fn order(state: &mut State, request: Request, opens: bool) -> Said<Accepted> {
    let lost = || CloudError::no_answer("Timeout", "no answer within 23s");
    if state.now < state.cloud_away_until {
        let error = CloudError { kind: ErrorKind::NotSent, ..CloudError::no_answer("ConnectFailed", "no connection") };
        return (Err(error), 3000);
    }
    if !opens {
        return (Err(code(4104)), 0);
    }
    if !strikes(state, state.plan.orders) {
        let wait = slowness(state);
        return (carry_out(state, request), wait);
    }
    match state.chance.below(12) {
        0 => {
            state.struck("order: no connection");
            let error =
                CloudError { kind: ErrorKind::NotSent, ..CloudError::no_answer("ConnectFailed", "no connection") };
            (Err(error), 3000)
        }
        1 => {
            state.struck("order: lost before it was carried out");
            (Err(lost()), 23_000)
        }
        2 | 3 => {
            state.struck("order: answer lost");
            let _ = carry_out(state, request);
            (Err(CloudError::no_answer("ConnectionLost", "connection reset")), state.chance.below(3000))
        }
        4 => {
            state.struck("order: answer hangs");
            let _ = carry_out(state, request);
            (Err(lost()), 23_000)
        }
        5 | 6 => {
            // Up to and past its lifetime.
            let late = state
                .chance
                .pick(&[1000, 20_000, 60_000, 200_000, 310_000, 319_000, 329_000, 345_000, 400_000, 600_000]);
            state.struck(if late < 330_000 { "order: arrives late" } else { "order: arrives after its lifetime" });
            state.vendor.fly(state.now + late, request);
            (Err(lost()), 23_000)
        }
        7 => {
            state.struck("order: carried out and answered with an error");
            let _ = carry_out(state, request);
            (Err(state.chance.pick(&ERRORS).error()), 0)
        }
        8 => {
            state.struck("order: not carried out and answered with an error");
            (Err(state.chance.pick(&ERRORS).error()), 0)
        }
        9 => {
            state.struck("order: throttled (4400)");
            (refused(state, request, 4400), 0)
        }
        10 => {
            state.struck("order: refused plainly");
            let number = state.chance.pick(&[5000, 5200, 5500, 4300, 10702]);
            (refused(state, request, number), 0)
        }
        _ => {
            state.struck("order: answered very late");
            let answer = carry_out(state, request);
            (answer, state.chance.between(5000, 22_000))
        }
    }
}

fn refused(state: &mut State, request: Request, number: i64) -> Result<Accepted, CloudError> {
    if state.plan.broken == Broken::RefusedIsTaken {
        let _ = carry_out(state, request);
    }
    Err(code(number))
}

fn carry_out(state: &mut State, request: Request) -> Result<Accepted, CloudError> {
    let State { vendor, chance, judge, plan, now, .. } = state;
    let again = (plan.broken == Broken::Repeated).then(|| request.clone());
    let busy = vendor.take(*now, request, chance);
    match busy {
        Ok(order) => {
            judge.charged(vendor, order);
            if let Some(Ok(order)) = again.map(|request| vendor.take(*now, request, chance)) {
                judge.charged(vendor, order);
            }
            Ok(Accepted { deal_id: order.to_string(), deal_name: None })
        }
        Err(number) => {
            match number {
                100_207 => state.struck("order: balance too low"),
                10702 => state.struck("order: instance busy (10702)"),
                5100 => state.struck("order: instance busy, an unclear error"),
                _ => {}
            }
            Err(code(number))
        }
    }
}

/// What says nothing of an order's fate.
#[derive(Clone, Copy)]
enum Unclear {
    Http,
    Garbage,
    Code(i64),
}

const ERRORS: [Unclear; 7] = [
    Unclear::Http,
    Unclear::Garbage,
    Unclear::Code(4500),
    Unclear::Code(4200),
    Unclear::Code(5100),
    Unclear::Code(6000),
    Unclear::Code(9999),
];

impl Unclear {
    fn error(self) -> CloudError {
        match self {
            Self::Http => CloudError::no_answer("HttpStatus", "HTTP status 502"),
            Self::Garbage => CloudError::no_answer("Doubtful", "the answer is about another instance"),
            Self::Code(number) => code(number),
        }
    }
}

pub(super) fn code(number: i64) -> CloudError {
    let text = number.to_string();
    let kind = ErrorKind::Code(meaning(Some(number), Some(&text)));
    let word = match meaning(Some(number), Some(&text)) {
        Meaning::NoInstance => "InstanceNotExists",
        Meaning::Busy => "InstanceStatusAbnormal",
        Meaning::SizeNotInRange => "MemSizeNotInRange",
        Meaning::NoShrink => "ReduceCapacityNotAllowed",
        Meaning::BalanceLow => "AccountBalanceNotEnough",
        Meaning::SoldOut => "PurchaseFailed",
        Meaning::Clock => "RequestExpired",
        Meaning::Throttled => "QuotaExceeded",
        _ => "Error",
    };
    CloudError { kind, code: Some(number), cloud_code: Some(text), ..CloudError::no_answer(word, "The cloud says no.") }
}

pub(super) fn strikes(state: &mut State, percent: u64) -> bool {
    !state.is_calm() && state.chance.percent(percent)
}

/// What a read meets instead of an answer.
pub(super) fn trouble<T>(state: &mut State) -> Option<Said<T>> {
    if state.now < state.cloud_away_until {
        return Some((Err(CloudError::no_answer("ConnectFailed", "no connection")), 3000));
    }
    if !strikes(state, state.plan.cloud_reads) {
        return None;
    }
    let (fault, error, wait) = match state.chance.below(7) {
        0 => ("cloud: a read hangs", CloudError::no_answer("Timeout", "no answer within 30s"), 30_000),
        1 => ("cloud: HTTP 5xx", CloudError::no_answer("HttpStatus", "HTTP status 503"), 0),
        2 => ("cloud: garbage", CloudError::no_answer("Doubtful", "twice in the list"), 0),
        3 => ("cloud: throttled (4400)", code(4400), 0),
        4 => ("cloud: time refused (4500)", code(4500), 0),
        5 => ("cloud: internal error (6000)", code(6000), 0),
        _ => ("cloud: unknown code", code(9999), 0),
    };
    state.struck(fault);
    Some((Err(error), wait))
}

pub(super) fn slowness(state: &mut State) -> Millis {
    if strikes(state, state.plan.slowness) {
        state.struck("cloud: a slow answer");
        return state.chance.between(100, 9000);
    }
    0
}
