//! How soon an order comes: one alone, on an operator that is idle or busy for another account, and many at once against the limit that is set.

use std::{collections::HashMap, fmt, ops::RangeInclusive, time::Duration};

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    contestant::OURS,
    fleet::{Fleet, declared, name, redis_id},
    meter::within,
};

const ALONE: usize = 200;
const MANY: usize = 1_000;
/// Orders, and looks, a second for each account.
const RATE: f64 = 20.0;

pub async fn measure(size: usize) {
    let fleet = Fleet::with_neighbour(size).await;
    let rate = RATE.to_string();
    let running = OURS.start(&fleet.cluster.kubeconfig(), fleet.cloud.url(), "1m", &rate);
    running.wait_until_observed(size).await;

    let idle = lone_orders(&fleet, 1..=ALONE).await;
    println!("\n| one grown, from the API server's answer to the order at the cloud, ms | p50 | p99 |");
    println!("|---|---|---|");
    println!("| of {size} that are still | {idle} |");
    running.wait_until_ready(size).await;
    many_at_once(&fleet, ALONE + 1..=ALONE + MANY).await;
    running.wait_until_ready(size).await;
    fleet.grow_neighbours().await;
    let busy = lone_orders(&fleet, ALONE + MANY + 1..=2 * ALONE + MANY).await;
    println!("| while {size} of another account wait for its limit | {busy} |");
}

/// Grows one after the other, slower than the limit.
async fn lone_orders(fleet: &Fleet, numbers: RangeInclusive<usize>) -> Percentiles {
    let (api, mut asked) = (fleet.instances(), HashMap::new());
    for number in numbers {
        let grown = Patch::Merge(json!({"spec": {"memSize": 2048}}));
        api.patch(&name(number), &PatchParams::default(), &grown).await.expect("it is grown");
        asked.insert(redis_id(number), Timestamp::now());
        fleet.wait_for_order(&redis_id(number)).await;
        tokio::time::sleep(Duration::from_secs_f64(2.0 / RATE)).await;
    }
    let took = orders(fleet).await.into_iter().filter_map(|(redis_id, at)| Some((at, *asked.get(&redis_id)?)));
    Percentiles::of(took.map(|(at, asked)| at.duration_since(asked).as_secs_f64() * 1000.0).collect())
}

/// Grows many by one `kubectl apply`.
async fn many_at_once(fleet: &Fleet, numbers: RangeInclusive<usize>) {
    let ids: Vec<_> = numbers.clone().map(redis_id).collect();
    let items: Vec<_> = numbers.map(|number| declared(number, 2048)).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    fleet.cluster.kubectl_with(&apply, &list).await.expect("they are grown");
    let mut times: Vec<Timestamp> = within(async {
        loop {
            let known: HashMap<_, _> = orders(fleet).await.into_iter().collect();
            if let Some(times) = ids.iter().map(|id| known.get(id).copied()).collect() {
                break times;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    times.sort();
    // What a second gives may go at once.
    let (first, last) = (times[0], times[times.len() - 1]);
    let (between, due) = (last.duration_since(first).as_secs_f64(), MANY as f64 / RATE - 1.0);
    println!(
        "\n{MANY} grown by one kubectl apply, at --cloud-rate {RATE}: {:.1} % of the limit from the first order to the last, which comes {:.2} s late\n",
        100.0 * due / between,
        between - due
    );
}

async fn orders(fleet: &Fleet) -> Vec<(String, Timestamp)> {
    let ledger = fleet.cloud.ledger().await;
    let order = |order: &Value| Some((order["redisId"].as_str()?.to_owned(), order["at"].as_str()?.parse().ok()?));
    ledger["orders"].as_array().into_iter().flatten().filter_map(order).collect()
}

struct Percentiles {
    p50: f64,
    p99: f64,
}

impl Percentiles {
    fn of(mut all: Vec<f64>) -> Self {
        assert!(!all.is_empty(), "nothing was measured");
        all.sort_by(f64::total_cmp);
        let at = |part: f64| all[((all.len() - 1) as f64 * part).round() as usize];
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} | {:.1}", self.p50, self.p99)
    }
}
