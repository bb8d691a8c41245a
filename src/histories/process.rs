//! One incarnation of the operator: the real one, on a runtime of its own whose time is the world's, and which runs only while it has its turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::SignedDuration;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{advance, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    chance::Chance,
    front::Front,
    gate::{Gate, Point, Then, Trip, What},
    server::Server,
    world::{Clock, Millis, World, at},
};
use crate::{
    assembly::{Assembly, Parts},
    cloud::{CloudClock, limits::Limits},
    decide::Policy,
    telemetry::Metrics,
};

pub(super) const POLICY: Policy = Policy {
    lag: SignedDuration::from_secs(60),
    lifetime: SignedDuration::from_secs(330),
    resync: Duration::from_secs(60),
    active: Duration::from_secs(20),
};

/// How many seconds the clock of a machine is ahead.
pub(super) type Machine = Arc<AtomicI64>;

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
    pub(super) fn start(
        world: &Arc<World>,
        who: &'static str,
        machine: &Machine,
        namespaces: &[Option<String>],
        seed: u64,
    ) -> Self {
        // A current-thread runtime without I/O needs nothing that could be missing.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let (gate, stopping) = (Arc::new(Gate::new()), CancellationToken::new());
        let (clock, work) = {
            let _in_it = runtime.enter();
            let clock = Clock::starting(world.now().now);
            let server = Server { world: world.clone(), gate: gate.clone(), clock, who };
            let work = work(server, machine.clone(), namespaces.to_vec(), seed, stopping.clone());
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

/// The operator, as `cli::run` puts it together.
fn work(
    server: Server,
    machine: Machine,
    namespaces: Vec<Option<String>>,
    seed: u64,
    stopping: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let Server { world, gate, clock, who } = server.clone();
    let shrinks = world.now().vendor.nature.shrinks;
    let client = server.client();
    let now = move || at(clock.now()) + SignedDuration::from_secs(machine.load(Ordering::Relaxed));
    let time = CloudClock::new(now.clone());
    let cloud = Front { world, gate, clock, who, shrinks, time };
    let chance = Arc::new(parking_lot::Mutex::new(Chance::new(seed)));
    let random = move || chance.lock().next();
    let parts = Parts {
        client,
        cloud: Arc::new(cloud),
        limits: Limits::new(5.0, random.clone()).expect("a good rate"),
        policy: POLICY,
        namespaces,
        concurrency: 32,
        // Also where each object is read when its turn comes.
        most_whole: if seed.is_multiple_of(3) { 0 } else { 10 },
        book_namespace: "book".into(),
        identity: who.into(),
        metrics: Arc::new(Metrics::new()),
        stopping,
    };
    let assembly = Assembly::new(parts, now, random);
    async move {
        drop(assembly.run().await);
    }
}
