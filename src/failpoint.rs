//! The named places of the protocol at which a test kills or freezes this process: `CRS_OPERATOR_FAILPOINT=<name>[@<redisId>]=kill|stop` does
//! so at the first pass, or the first that is about this instance. Only a build with the feature `failpoints` has them. (The crate `fail` has neither of these two actions, and knows its points
//! by text alone: a test could not go through all.)

/// Where the process may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "failpoints", derive(clap::ValueEnum))]
pub enum Point {
    BeforeBook,
    BookRead,
    Looked,
    BeforeConfirm,
    /// What is declared is confirmed, and the time for sending has been found long enough.
    BeforeCreate,
    /// The API server's 201 is there, and nothing else has been done.
    Created,
    BeforeSend,
    /// To the cloud, for an order; when it may be sent has not been looked at.
    Connected,
    /// There was time to send it; the order itself goes next.
    BodyLeaves,
    Answered,
    BeforeRecord,
    /// What came of an order is in the book; nobody has been told.
    Recorded,
    DealAsked,
    BeforeDelivered,
    Delivered,
    BeforeSettle,
    Settled,
    BeforeStatus,
    StatusWritten,
    BeforeEvent,
    /// One page of the cloud's list.
    PageRead,
    BeforePrune,
    Pruned,
    /// After SIGTERM nothing is begun any more; orders under way have not been waited for.
    Stopping,
    OrdersEnded,
}

/// `about`: a text that has the redisId in it, where it is about one instance.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn pass(_: Point, _about: &str) {}

#[cfg(feature = "failpoints")]
pub(crate) use armed::pass;

#[cfg(feature = "failpoints")]
mod armed {
    use std::{
        sync::{
            LazyLock,
            atomic::{AtomicBool, Ordering},
        },
        thread::sleep,
        time::Duration,
    };

    use clap::ValueEnum;
    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    const NAME: &str = "CRS_OPERATOR_FAILPOINT";

    struct Armed {
        point: Point,
        /// Empty for whichever instance.
        redis_id: String,
        signal: Signal,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let text = std::env::var(NAME).ok()?;
        Some(parse(&text).unwrap_or_else(|| panic!("{NAME}={text}: not <name>[@<redisId>]=kill|stop")))
    });
    static STRUCK: AtomicBool = AtomicBool::new(false);

    fn parse(text: &str) -> Option<Armed> {
        let (place, action) = text.split_once('=')?;
        let (name, redis_id) = place.split_once('@').unwrap_or((place, ""));
        let signal = match action {
            "kill" => Signal::KILL,
            "stop" => Signal::STOP,
            _ => return None,
        };
        Some(Armed { point: Point::from_str(name, false).ok()?, redis_id: redis_id.to_owned(), signal })
    }

    pub(crate) fn pass(point: Point, about: &str) {
        let strikes = |armed: &&Armed| armed.point == point && about.contains(&armed.redis_id);
        let Some(armed) = ARMED.as_ref().filter(strikes) else { return };
        if STRUCK.swap(true, Ordering::SeqCst) {
            return;
        }
        let action = if armed.signal == Signal::KILL { "kill" } else { "stop" };
        eprintln!("failpoint {point:?} {action} {}", armed.redis_id);
        if let Err(error) = kill_process(getpid(), armed.signal) {
            panic!("failpoint {point:?}: {error}");
        }
        // SIGSTOP may be taken by another thread first: this one goes no further before all stand still.
        sleep(Duration::from_millis(50));
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_is_named_with_whom_it_is_for_and_what_happens_there() {
            let armed = parse("body-leaves@crs-00000006=stop").unwrap();
            assert_eq!(
                (armed.point, &*armed.redis_id, armed.signal),
                (Point::BodyLeaves, "crs-00000006", Signal::STOP)
            );
            assert_eq!(parse("created=kill").unwrap().redis_id, "", "whoever passes");
            for wrong in ["", "created", "created=pause", "nowhere=kill", "@crs-00000006=kill"] {
                assert!(parse(wrong).is_none(), "{wrong}");
            }
        }
    }
}
