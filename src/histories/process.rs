//! One incarnation of the operator: the real one, on a runtime of its own whose time is the world's, and which runs only while it has its turn.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{advance, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    chance::Chance,
    front::Front,
    gate::{Gate, Point, Then, Trip, What},
    server::Server,
    world::{Clock, Millis, World, at},
};
use crate::{
    act::Actor,
    balance::Balances,
    book::{Book, Cache},
    calls::Calls,
    cloud::{CloudClock, limits::Limits},
    controller::Operator,
    decide::Policy,
    observe::Observer,
    report::Reporter,
    secrets::Secrets,
    telemetry::Metrics,
    wakes::Wakes,
};

pub(super) const POLICY: Policy = Policy {
    lag: SignedDuration::from_secs(60),
    lifetime: SignedDuration::from_secs(330),
    resync: Duration::from_secs(60),
    active: Duration::from_secs(20),
};
/// As in `cli::run`.
const GRACE: Duration = Duration::from_secs(30);

pub(super) struct Process {
    runtime: Runtime,
    world: Arc<World>,
    gate: Arc<Gate>,
    clock: Clock,
    stopping: CancellationToken,
    work: JoinHandle<()>,
}

/// How a turn has ended.
pub(super) enum End {
    Time,
    /// At that point its power went.
    Crashed(What, Point),
    Frozen(What, Point),
    /// It has ended in order.
    Exited,
    Panicked,
}

impl Process {
    pub(super) fn start(world: &Arc<World>, who: &'static str, namespaces: &[Option<String>], seed: u64) -> Self {
        // A current-thread runtime without I/O needs nothing that could be missing.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let (gate, stopping) = (Arc::new(Gate::new()), CancellationToken::new());
        let (clock, work) = {
            let _in_it = runtime.enter();
            let clock = Clock::starting(world.now().now);
            let work = work(world, &gate, clock, who, namespaces.to_vec(), seed, stopping.clone());
            (clock, runtime.spawn(work))
        };
        Self { runtime, world: world.clone(), gate, clock, stopping, work }
    }

    /// Its turn: its time catches up with the world's first, as for one that was frozen meanwhile.
    pub(super) fn turn(&mut self, until: Millis, trip: Option<Trip>) -> End {
        let now = self.world.now().now;
        let ended = self.runtime.block_on(async {
            let behind = now.saturating_sub(self.clock.now());
            if behind > 0 {
                advance(Duration::from_millis(behind)).await;
            }
            self.gate.open(trip);
            let ended = tokio::select! {
                biased;
                () = self.gate.stopped() => None,
                () = sleep_until(self.clock.instant(until)) => None,
                ended = &mut self.work => Some(ended),
            };
            drop(self.world.at(self.clock.now()));
            ended
        });
        match self.gate.close() {
            Some((what, point, Then::Crash)) => End::Crashed(what, point),
            Some((what, point, Then::Freeze)) => End::Frozen(what, point),
            None => match ended {
                None => End::Time,
                Some(Ok(())) => End::Exited,
                Some(Err(_)) => End::Panicked,
            },
        }
    }

    /// SIGTERM.
    pub(super) fn terminate(&self) {
        self.stopping.cancel();
    }
}

/// How far the clock of its machine is ahead.
fn machine_off(world: &World, chance: &mut Chance) -> SignedDuration {
    let mut state = world.now();
    if !chance.percent(state.plan.clocks_off) {
        return SignedDuration::ZERO;
    }
    state.struck("process: the clock of its machine is off");
    SignedDuration::from_secs(chance.pick(&[-3 * 3600, -240, 240, 3 * 3600]))
}

/// What `cli::run` puts together and waits for.
fn work(
    world: &Arc<World>,
    gate: &Arc<Gate>,
    clock: Clock,
    who: &'static str,
    namespaces: Vec<Option<String>>,
    seed: u64,
    stopping: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let shrinks = world.now().vendor.nature.shrinks;
    let client = Server { world: world.clone(), gate: gate.clone(), clock, who }.client();
    let mut chance = Chance::new(seed);
    let off = machine_off(world, &mut chance);
    let now = move || at(clock.now()) + off;
    let time = CloudClock::new(now);
    let cloud = Front { world: world.clone(), gate: gate.clone(), clock, who, shrinks, time };
    let metrics = Arc::new(Metrics::new());
    let chance = Arc::new(parking_lot::Mutex::new(chance));
    let random = move || chance.lock().next();
    let limits = Limits::new(5.0, random.clone()).expect("a good rate");
    let calls = Calls::new(Arc::new(cloud), limits, metrics.clone(), now);
    let wakes = Wakes::new(namespaces.iter().cloned());
    let secrets = Secrets::new(client.clone());
    let observer = Observer::new(calls.clone(), secrets.clone(), wakes.clone(), POLICY);
    let balances = Balances::new(POLICY.lag.unsigned_abs(), wakes.clone());
    let cache = Cache::default();
    let actor = Arc::new(Actor {
        client: client.clone(),
        book: Book::new(client.clone(), "book", cache.clone()),
        calls,
        policy: POLICY,
        reporter: Reporter::new(client.clone(), who.to_owned(), now),
        metrics,
        wakes,
        orders: TaskTracker::new(),
        stopping: stopping.clone(),
    });
    let operator =
        Arc::new(Operator::new(actor.clone(), balances, cache, observer, secrets, namespaces.len() + 1, random));
    async move {
        let work = async {
            let ended = operator.run(client, &namespaces, "book", 32, stopping.clone()).await;
            stopping.cancel();
            for tasks in [&actor.orders, &actor.reporter.tasks] {
                tasks.close();
                tasks.wait().await;
            }
            ended
        };
        let grace = async {
            stopping.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            _ = work => {}
            () = grace => {}
        }
    }
}
