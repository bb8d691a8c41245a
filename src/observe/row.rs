//! What is kept of one instance that is watched: little, since there are many.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::SecretUse;
use crate::{
    api::Object,
    cloud::{Dated, Instance, InstanceState, Layout},
    decide::{FIRST_LOOK, Policy, Seen},
    index::RedisId,
    shared::Shared,
};

/// The longest wait before one that isn't there is asked for by itself again. (One that is there, and only not listed, is asked for as often
/// as the list is read.)
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// A look of its own may be this much later than a page of the list that was under way. More than that, and its Date was wrong.
const ROUND_AT_MOST: SignedDuration = SignedDuration::from_mins(1);

/// What the cloud shows of an instance, but its id: many have it in common.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    state: InstanceState,
    size: i64,
    zone_id: Option<i64>,
    type_id: Option<i64>,
    layout: Layout,
}

/// [`Seen`], as it is kept.
#[derive(Debug)]
pub(super) enum Sight {
    Instance(Arc<Shape>, Timestamp),
    /// Since when that is waited for.
    NotYet(Instant),
    /// There are few of these.
    Other(Box<Seen>),
}

impl Sight {
    pub(super) fn new(seen: Seen, shapes: &mut Shared<Shape>) -> Self {
        match seen {
            Seen::Instance(Dated { value, at }) => {
                let Instance { redis_id: _, state, size, zone_id, type_id, layout } = value;
                Self::Instance(shapes.get(Shape { state, size, zone_id, type_id, layout }), at)
            }
            Seen::NotYet { .. } => Self::NotYet(Instant::now()),
            other => Self::Other(Box::new(other)),
        }
    }

    pub(super) fn seen(&self, redis_id: &str) -> Seen {
        match self {
            Self::Instance(shape, at) => {
                let Shape { state, size, zone_id, type_id, layout } = **shape;
                let redis_id = redis_id.to_owned();
                Seen::Instance(Dated { value: Instance { redis_id, state, size, zone_id, type_id, layout }, at: *at })
            }
            Self::NotYet(since) => Seen::NotYet { long: since.elapsed() >= FIRST_LOOK },
            Self::Other(seen) => (**seen).clone(),
        }
    }

    /// Do both tell the same, whenever they were seen?
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Instance(one, _), Self::Instance(two, _)) => one == two,
            (Self::NotYet(_), Self::NotYet(_)) => true,
            (Self::Other(one), Self::Other(two)) => match (&**one, &**two) {
                (Seen::Failed(one), Seen::Failed(two)) => one.is_like(two),
                (one, two) => matches!((one, two), (Seen::Absent(_), Seen::Absent(_))),
            },
            _ => false,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Other(seen) if matches!(**seen, Seen::Absent(_)))
    }
}

pub(super) struct Watcher {
    pub(super) object: Object,
    pub(super) secret: Arc<SecretUse>,
}

/// How one is asked for by itself that the list does not show.
#[derive(Clone)]
struct Asking {
    at: Instant,
    /// How long it waits after that.
    wait: Duration,
    failing_since: Option<Instant>,
}

pub(super) struct Row {
    pub(super) seen: Sight,
    /// Nearly always one.
    pub(super) watchers: SmallVec<[Watcher; 1]>,
    /// Something is on its way.
    pub(super) active: bool,
    /// The list that is being read has shown it.
    pub(super) listed: bool,
    /// The latest list did not.
    pub(super) missing: bool,
    /// `None`: at once.
    asking: Option<Box<Asking>>,
}

impl Row {
    pub(super) fn new(seen: Sight) -> Self {
        let listed = matches!(seen, Sight::Instance(..));
        Self { seen, watchers: SmallVec::new(), active: false, listed, missing: false, asking: None }
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = Object> {
        self.watchers.iter().map(|watcher| watcher.object.clone())
    }

    pub(super) fn watch(&mut self, object: &Object, secret: Arc<SecretUse>) {
        match self.watchers.iter_mut().find(|watcher| watcher.object == *object) {
            Some(watcher) => watcher.secret = secret,
            None => self.watchers.push(Watcher { object: object.clone(), secret }),
        }
    }

    /// Takes what was seen; true if that is news.
    pub(super) fn see(&mut self, seen: Sight) -> bool {
        let news = !self.seen.is_like(&seen);
        self.seen = seen;
        news
    }

    /// Takes what a list shows; true if that is news. What was seen at the same second or a little later stays.
    pub(super) fn take(&mut self, listed: Sight) -> bool {
        self.listed = true;
        self.asking = None;
        if let (Sight::Instance(_, before), Sight::Instance(_, at)) = (&self.seen, &listed) {
            let later = before.duration_since(*at);
            if !later.is_negative() && later <= ROUND_AT_MOST {
                return false;
            }
        }
        self.see(listed)
    }

    /// When it is to be asked for by itself, if that is now or before.
    pub(super) fn asked_by(&self, now: Instant) -> Option<Option<Instant>> {
        let at = self.asking.as_ref().map(|asking| asking.at);
        (self.missing && at.is_none_or(|at| at <= now)).then_some(at)
    }

    pub(super) fn set_active(&mut self, active: bool, policy: &Policy) {
        self.active = active;
        if let Some(asking) = &mut self.asking {
            asking.at = asking.at.min(Instant::now() + policy.active);
        }
    }

    /// Since when it fails to be asked for by itself: from now on, if not before.
    pub(super) fn fails(&mut self) -> Instant {
        *self.asking().failing_since.get_or_insert_with(Instant::now)
    }

    /// It was asked for by itself: how long before that is done again.
    pub(super) fn was_asked(&mut self, has_failed: bool, longest: Duration, policy: &Policy) {
        let asking = self.asking();
        if !has_failed {
            asking.failing_since = None;
        }
        asking.wait = (asking.wait * 2).clamp(policy.active, longest.max(policy.active));
        asking.at = Instant::now() + asking.wait;
    }

    fn asking(&mut self) -> &mut Asking {
        self.asking
            .get_or_insert_with(|| Box::new(Asking { at: Instant::now(), wait: Duration::ZERO, failing_since: None }))
    }
}

/// By redisId.
pub(super) type Rows = std::collections::HashMap<RedisId, Row>;
