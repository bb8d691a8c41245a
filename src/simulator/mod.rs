//! A stand-in for the cloud, for tests, the demo, and whoever wants to try: as strict as what its documents say.
//!
//! It is written from these documents alone and shares nothing with the client, not a type and not a line of signing,
//! or the two would agree on a mistake. The way of a request: here (HTTP, and what a fault makes of it) →
//! [`wire_v2`] or [`wire_v3`], both a [`front`] (parameters, answers; who sends it is for [`auth_v2`] and
//! [`auth_v3`]) → [`state`], which knows no version. [`admin`] is the other door, `/_sim/`.

mod admin;
mod auth_v2;
mod auth_v3;
mod catalogue;
mod deal;
mod faults;
mod front;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod instance;
mod ledger;
mod list;
mod order;
mod rate;
mod state;
mod wire_v2;
mod wire_v3;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use auth_v2::Key;
pub use instance::NewInstance;
pub use state::WhileInvisible;

use faults::{Fault, Kind};
use front::{Front, Twist};

/// What the cloud takes in a POST that is signed as in version 2 (1278/46710); for 3.0 it is more.
const MAX_BODY: usize = 1 << 20;
/// How long a request that gets no answer is held.
const MAX_HANG: Duration = Duration::from_secs(600);
/// Requests that are `late` at the same time; one more is lost on its way.
const MAX_LATE: usize = 1000;
/// How long open connections may hold up the end.
const GRACE: Duration = Duration::from_secs(3);
const OVERSIZED: usize = 64 << 20;
/// No duration is longer: every time stays one that can be written down.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The instances that are there from the beginning are older than any `stale` answer.
const AGE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one. The first owns the instances that name no account.
    pub keys: Vec<Key>,
    pub instances: Vec<NewInstance>,
    /// Of each account, in fen (0.01 CNY); `None`: it can pay anything.
    pub balance: Option<u64>,
    /// From when an order shows until it is done.
    pub upgrade_time: Duration,
    /// How long an accepted order doesn't show.
    pub visible_after: Duration,
    /// How long an order for the maintenance window waits for it, and doesn't show.
    pub maintenance_wait: Duration,
    /// How far a Timestamp may be off, either way.
    pub timestamp_window: Duration,
    /// Whether a Nonce is good only once; 3.0 has none.
    pub replay_protection: bool,
    /// Calls of 3.0 in a second for each account, region and action; 0: no limit.
    pub rate_limit: u32,
    pub while_invisible: WhileInvisible,
    /// For faults with a `rate`.
    pub seed: u64,
}

impl Default for Config {
    /// One key, `AKIDSIMULATOR` with the secret `simulated-secret-key`, and no instances.
    fn default() -> Self {
        Config {
            keys: vec![Key { id: "AKIDSIMULATOR".into(), secret: "simulated-secret-key".into(), token: None }],
            instances: Vec::new(),
            balance: None,
            upgrade_time: Duration::from_secs(5),
            visible_after: Duration::ZERO,
            maintenance_wait: Duration::from_secs(60),
            timestamp_window: Duration::from_secs(300),
            replay_protection: true,
            rate_limit: 20,
            while_invisible: WhileInvisible::default(),
            seed: 0,
        }
    }
}

/// What in a [`Config`] can't be simulated.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// A simulated cloud, ready to be served.
#[derive(Debug)]
pub struct Simulator {
    world: Mutex<World>,
    late: Arc<Semaphore>,
    ended: CancellationToken,
}

#[derive(Debug)]
struct World {
    cloud: state::Cloud,
    gate: auth_v2::Gate,
    gate_v3: auth_v3::Gate,
    rate: rate::Rate,
    faults: faults::Faults,
    ledger: ledger::Ledger,
    /// The ids of the keys, in their order.
    accounts: Vec<String>,
    /// Of the cloud's clock from the machine's.
    offset: SignedDuration,
}

impl World {
    fn now(&self) -> Timestamp {
        Timestamp::now() + self.offset
    }

    fn create(&mut self, new: NewInstance, created: Timestamp) -> Result<(), String> {
        let account = match &new.account {
            None => self.accounts.first(),
            Some(id) => self.accounts.iter().find(|known| *known == id),
        };
        let account = account.ok_or_else(|| format!("{}: its account is the id of no key", new.redis_id))?.clone();
        self.cloud.create(new, &account, created)
    }
}

impl Simulator {
    /// # Errors
    /// No keys, or two with one id; an instance that is there twice, or that names an unknown account, region or type;
    /// a duration of more than a year.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let accounts: Vec<_> = config.keys.iter().map(|key| key.id.clone()).collect();
        if let Some(twice) = accounts.iter().enumerate().find_map(|(n, id)| accounts[..n].contains(id).then_some(id)) {
            return Err(ConfigError(format!("two keys have the id {twice}")));
        }
        if accounts.is_empty() {
            return Err(ConfigError("there must be a key".into()));
        }
        let Config { upgrade_time, visible_after, maintenance_wait, while_invisible, timestamp_window, .. } = config;
        if [upgrade_time, visible_after, maintenance_wait, timestamp_window].iter().any(|time| *time > MAX_DURATION) {
            return Err(ConfigError("a duration is at most a year".into()));
        }
        let mut world = World {
            cloud: state::Cloud::new(state::Rules { upgrade_time, visible_after, maintenance_wait, while_invisible }),
            gate: auth_v2::Gate::new(&config.keys, timestamp_window, config.replay_protection),
            gate_v3: auth_v3::Gate::new(&config.keys, timestamp_window),
            rate: rate::Rate::new(config.rate_limit),
            faults: faults::Faults::new(config.seed),
            ledger: ledger::Ledger::default(),
            accounts,
            offset: SignedDuration::ZERO,
        };
        for id in &world.accounts {
            world.cloud.set_balance(id, config.balance);
        }
        let created = world.now() - AGE;
        for new in config.instances {
            world.create(new, created).map_err(ConfigError)?;
        }
        Ok(Simulator {
            world: Mutex::new(world),
            late: Arc::new(Semaphore::new(MAX_LATE)),
            ended: CancellationToken::new(),
        })
    }

    /// Answers on `listener` until `shutdown` is done; requests that are being answered then get three seconds.
    ///
    /// # Errors
    /// `InvalidInput` when the listener isn't on a loopback address: whoever reaches `/_sim/` may change all.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            let why = format!("{address} is not a loopback address, and the simulator listens on nothing else");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let ended = self.ended.clone();
        let router = self.router();
        let told = ended.clone();
        let server = axum::serve(listener, router).with_graceful_shutdown(async move {
            shutdown.await;
            told.cancel();
        });
        tokio::select! {
            result = server.into_future() => result,
            () = async { ended.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
        }
    }

    /// All that is answered.
    fn router(self) -> Router {
        let sim = Arc::new(self);
        Router::new()
            .route(wire_v2::PATH, get(version_2).post(version_2))
            .route(wire_v3::PATH, post(version_3).fallback(nothing_there))
            .merge(admin::router())
            .fallback(nothing_there)
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(middleware::map_response_with_state(sim.clone(), dated))
            .with_state(sim)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &impl Front, twist: Twist) -> Value {
        let mut world = self.world();
        let now = world.now();
        request.carry_out(&mut world, twist, now)
    }

    /// A response with this answer, dated now even if it is sent later, by a clock that is so far ahead.
    fn respond(&self, answer: Value, skew: SignedDuration) -> Response {
        let mut response = Json(answer).into_response();
        self.date(&mut response, skew);
        response
    }

    /// By the cloud's clock. A response that has its date keeps it.
    fn date(&self, response: &mut Response, skew: SignedDuration) {
        let now = self.world().now() + skew;
        let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok();
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().entry(DATE).or_insert(value);
        }
    }

    /// Returns early at the end of the simulator.
    async fn pause(&self, time: Duration) {
        let _ = tokio::time::timeout(time, self.ended.cancelled()).await;
    }

    async fn hang(&self) -> Response {
        self.pause(MAX_HANG).await;
        cut()
    }
}

async fn dated(State(sim): State<Arc<Simulator>>, mut response: Response) -> Response {
    sim.date(&mut response, SignedDuration::ZERO);
    response
}

async fn nothing_there() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "API 3.0 is at / (POST), version 2 at /v2/index.php, the rest at /_sim/\n")
}

async fn version_3(State(sim): State<Arc<Simulator>>, headers: HeaderMap, body: Bytes) -> Response {
    receive(sim, wire_v3::Request::new(headers, body)).await
}

async fn version_2(
    State(sim): State<Arc<Simulator>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let pairs = match form {
        Ok(_) if method == Method::POST && uri.query().is_some() => Err("a POST has its parameters in the body".into()),
        Ok(Form(pairs)) => Ok(pairs),
        Err(rejection) => Err(rejection.body_text()),
    };
    receive(sim, wire_v2::Request::new(method.to_string(), host.into(), uri.path().into(), pairs)).await
}

async fn receive(sim: Arc<Simulator>, request: impl Front) -> Response {
    let fault = {
        let mut world = sim.world();
        world.ledger.call(request.call().action);
        world.faults.pick(&request.call())
    };
    match fault {
        None => sim.respond(sim.answer(&request, Twist::default()), SignedDuration::ZERO),
        Some(fault) => strike(sim, request, fault).await,
    }
}

/// Carries out a request as far as the fault lets it, and answers as the fault wants.
async fn strike(sim: Arc<Simulator>, request: impl Front, fault: Fault) -> Response {
    if fault.kind == Kind::Late {
        if let Ok(permit) = sim.late.clone().try_acquire_owned() {
            let sim = sim.clone();
            tokio::spawn(async move {
                let _permit = permit;
                sim.pause(fault.pause()).await;
                if !sim.ended.is_cancelled() {
                    sim.answer(&request, Twist::default());
                }
            });
        }
        return sim.hang().await;
    }
    let stale = if fault.kind == Kind::Stale { fault.pause() } else { Duration::ZERO };
    let skew = fault.skew();
    let twist = Twist { stale, deal_fails: fault.kind == Kind::DealFails, skew };
    let answer = if fault.carries_out() { sim.answer(&request, twist) } else { Value::Null };
    match fault.kind {
        Kind::Error | Kind::ErrorWithData => {
            let mut world = sim.world();
            let now = world.now();
            let code = fault.code.unwrap_or(ledger::Code::Number(6000));
            let refusal = request.refuse(&mut world, code, fault.bracketed, now);
            drop(world);
            sim.respond(if fault.kind == Kind::Error { refusal } else { both(answer, refusal) }, skew)
        }
        Kind::Delay => {
            let response = sim.respond(answer, skew);
            sim.pause(fault.pause()).await;
            response
        }
        Kind::Stale | Kind::Skew | Kind::DealFails => sim.respond(answer, skew),
        Kind::DropBefore | Kind::DropAfter => cut(),
        Kind::Hang | Kind::Late => sim.hang().await,
        Kind::Http500 => (StatusCode::INTERNAL_SERVER_ERROR, "internal server error\n").into_response(),
        Kind::Html => {
            ([(CONTENT_TYPE, "text/html")], "<html><body><h1>The service is busy</h1></body></html>\n").into_response()
        }
        Kind::Truncated => truncated(answer.to_string()),
        Kind::Oversized => oversized(answer.to_string()),
    }
}

/// The fields of an answer, and over them those of a refusal.
fn both(answer: Value, refusal: Value) -> Value {
    match (answer, refusal) {
        (Value::Object(mut answer), Value::Object(refusal)) => {
            for (name, value) in refusal {
                let under = answer.remove(&name).unwrap_or_default();
                answer.insert(name, both(under, value));
            }
            answer.into()
        }
        (_, refusal) => refusal,
    }
}

/// No response: the connection is closed. A body that fails before its first byte makes hyper give up the connection
/// with nothing written (a test holds it to that).
fn cut() -> Response {
    Body::from_stream(stream::once(async { Err::<Bytes, _>(io::Error::other("cut by a fault")) })).into_response()
}

/// The first half, and then the connection is closed.
fn truncated(answer: String) -> Response {
    let half = Bytes::copy_from_slice(&answer.as_bytes()[..answer.len() / 2]);
    let cut = stream::once(async {
        tokio::task::yield_now().await; // so that what came before is sent
        Err(io::Error::other("cut by a fault"))
    });
    let body = Body::from_stream(stream::once(async { Ok(half) }).chain(cut));
    ([(CONTENT_TYPE, "application/json"), (CONTENT_LENGTH, &answer.len().to_string())], body).into_response()
}

/// The answer is whole: only who bounds what is read can tell.
fn oversized(answer: String) -> Response {
    let padding = Bytes::from(vec![b' '; 64 << 10]);
    let padding = stream::repeat(padding).take(OVERSIZED >> 16);
    let body = stream::once(async { Bytes::from(answer) }).chain(padding).map(Ok::<_, io::Error>);
    ([(CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response()
}

#[cfg(test)]
mod tests;
