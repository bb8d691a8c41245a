//! The points of the protocol at which an operator is struck: by what must be done so that they are passed, and as it is said to it.

use clap::ValueEnum;
use crs_operator::failpoint::Point;

use super::{Operator, World, member};

/// What a test must do so that a point is passed.
#[derive(PartialEq)]
pub enum When {
    Growing,
    Asking,
    Listing,
    Pruning,
    Ending,
}

/// A new point has to be put here, and one that nobody passes makes the test fail that waits for it.
fn when(point: Point) -> When {
    match point {
        Point::BeforeBook
        | Point::BookRead
        | Point::Looked
        | Point::BeforeConfirm
        | Point::BeforeCreate
        | Point::Created
        | Point::BeforeSend
        | Point::Connected
        | Point::BodyLeaves
        | Point::Answered
        | Point::BeforeRecord
        | Point::Recorded
        | Point::BeforeSettle
        | Point::Settled
        | Point::BeforeStatus
        | Point::StatusWritten
        | Point::BeforeEvent => When::Growing,
        Point::DealAsked | Point::BeforeDelivered | Point::Delivered => When::Asking,
        Point::PageRead => When::Listing,
        Point::BeforePrune | Point::Pruned => When::Pruning,
        Point::Stopping | Point::OrdersEnded => When::Ending,
    }
}

pub fn points(of: When) -> Vec<Point> {
    Point::value_variants().iter().copied().filter(|point| when(*point) == of).collect()
}

/// As `CRS_OPERATOR_FAILPOINT` has it: for whichever instance passes first.
pub fn failpoint(point: Point, action: &str) -> String {
    format!("{}={action}", name(point))
}

/// Whom to strike: the n-th member, and of what an order goes through by itself its first one, also where the next overtakes it.
fn target(point: Point, n: usize) -> String {
    let id = member(n).1;
    match point {
        Point::BeforeSend | Point::Answered | Point::BeforeRecord | Point::Recorded => format!("{id}-1"),
        _ => id,
    }
}

fn name(point: Point) -> String {
    point.to_possible_value().expect("no point is hidden").get_name().to_owned()
}

impl World {
    /// Member n is declared at 2048 MB for the first time, and an operator struck at this point of its growth.
    pub async fn struck_growing(&self, n: usize, point: Point, action: &str) -> Operator {
        let target = target(point, n);
        let mut operator = self.operator_struck(&format!("{}@{target}={action}", name(point)), &[]);
        self.declare(n, 2048).await;
        operator.struck(action).await;
        let log = operator.log();
        assert!(log.contains(&format!("failpoint {point:?} {action} {target}")), "{log}");
        let entries = self.book(&member(n).1).await.len();
        // (What is told may be told before as well as after.)
        match point as u8 {
            n if n <= Point::BeforeCreate as u8 => assert_eq!(entries, 0, "{point:?} of {target}"),
            n if n <= Point::Settled as u8 => assert!(entries > 0, "{point:?} of {target}"),
            _ => {}
        }
        operator
    }

    /// Those that stand still go on, with what they have in hand and nobody else: all is and stays paid once, and known.
    pub async fn thawed_has_paid_once(&self, struck: &[Operator], count: usize, sizes: &[i64]) {
        let still: Vec<_> = struck.iter().filter(|operator| operator.is_still()).collect();
        let looks = self.cloud.looks().await;
        still.iter().for_each(|operator| operator.thaw());
        self.cloud.wait_for_looks_since(looks, 2 * still.len() as i64).await;
        self.settles_and_has_paid_once(count, sizes).await;
    }
}

/// For what is left to chance: `SEED` in the environment, or always the same.
pub fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}
