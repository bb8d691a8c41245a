//! The named places of the protocol at which a test kills or freezes this process: `CRS_OPERATOR_FAILPOINT=<name>[:<n>]=kill|stop` does so at
//! its n-th pass. Only a build with the feature `failpoints` has them. (The crate `fail` has neither of these two actions, and knows its points
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
    /// After SIGTERM nothing is begun any more; orders under way have not been waited for.
    Stopping,
    OrdersEnded,
}

#[cfg(not(feature = "failpoints"))]
pub(crate) fn pass(_: Point) {}

#[cfg(feature = "failpoints")]
pub(crate) use armed::pass;

#[cfg(feature = "failpoints")]
mod armed {
    use std::{
        sync::{
            LazyLock,
            atomic::{AtomicU32, Ordering},
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
        nth: u32,
        signal: Signal,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let text = std::env::var(NAME).ok()?;
        Some(parse(&text).unwrap_or_else(|| panic!("{NAME}={text}: not <name>[:<n>]=kill|stop")))
    });
    static PASSED: AtomicU32 = AtomicU32::new(0);

    fn parse(text: &str) -> Option<Armed> {
        let (place, action) = text.split_once('=')?;
        let (name, nth) = place.split_once(':').unwrap_or((place, "1"));
        let signal = match action {
            "kill" => Signal::KILL,
            "stop" => Signal::STOP,
            _ => return None,
        };
        Some(Armed { point: Point::from_str(name, false).ok()?, nth: nth.parse().ok()?, signal })
    }

    pub(crate) fn pass(point: Point) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.point == point) else { return };
        if PASSED.fetch_add(1, Ordering::SeqCst) + 1 != armed.nth {
            return;
        }
        eprintln!("failpoint {point:?} {}", if armed.signal == Signal::KILL { "kill" } else { "stop" });
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
        fn a_point_is_named_with_its_pass_and_what_happens_there() {
            let armed = parse("body-leaves:3=stop").unwrap();
            assert_eq!((armed.point, armed.nth, armed.signal), (Point::BodyLeaves, 3, Signal::STOP));
            assert_eq!(parse("created=kill").unwrap().nth, 1);
            for wrong in ["", "created", "created=pause", "nowhere=kill", "created:often=kill"] {
                assert!(parse(wrong).is_none(), "{wrong}");
            }
        }
    }
}
