//! `crs-operator run`: the operator.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::{
    assembly::{Assembly, Parts},
    cloud::{Cloud, EndpointError, limits::Limits, v2::V2, v3::V3},
    decide::Policy,
    index::MOST_WHOLE,
    leader::Leader,
    serve::serve,
    telemetry::{self, LogFormat, Metrics, Traces},
};

const EXAMPLES: &str = "\
Examples:
  All namespaces, with the kubeconfig's context or the pod's ServiceAccount:
      crs-operator run
  Two namespaces only, the account book in a third, several replicas:
      crs-operator run --namespace shop --namespace forum --book-namespace crs-system --leader-elect
  Against the simulator, in quick motion (its window is then shorter too):
      crs-operator simulate --listen 127.0.0.1:8086 --count 10 --timestamp-window 5s &
      crs-operator run --api-endpoint http://127.0.0.1:8086 --cloud-lag 2s --request-lifetime 6s --resync 5s

Every flag can come from the environment: --cloud-lag from CRS_OPERATOR_CLOUD_LAG, and so on. RUST_LOG sets what is logged.";

/// Run the operator
#[derive(Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct RunArgs {
    /// Generation of the cloud's API; who starts today takes v3
    #[arg(long, value_enum, default_value = "v2", env = "CRS_OPERATOR_API")]
    api: Api,

    /// URL of the cloud's API, https only but for loopback; without a path the API's own is added [default: the API's own]
    #[arg(long, value_name = "URL", env = "CRS_OPERATOR_API_ENDPOINT")]
    api_endpoint: Option<String>,

    /// Namespace whose RedisInstances are looked after; repeatable (in the environment: comma-separated) [default: all]
    #[arg(long = "namespace", value_name = "NS", value_delimiter = ',', env = "CRS_OPERATOR_NAMESPACE")]
    namespaces: Vec<String>,

    /// Namespace of the account book; another one is another book, so don't change it while `kubectl get crsup` shows Written or Placed, and let
    /// no two operators with different books look after one instance [default: the pod's own, else the kubeconfig context's, else default]
    #[arg(long, value_name = "NS", env = "CRS_OPERATOR_BOOK_NAMESPACE")]
    book_namespace: Option<String>,

    /// How many RedisInstances are worked on at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000), env = "CRS_OPERATOR_CONCURRENCY")]
    concurrency: u16,

    /// Requests a second to the cloud, for each account, region and action; 0: no limit
    #[arg(long, value_name = "RATE", default_value_t = 5.0, env = "CRS_OPERATOR_CLOUD_RATE")]
    cloud_rate: f64,

    /// How often a still instance is looked at
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = from_100ms, env = "CRS_OPERATOR_RESYNC")]
    resync: Duration,

    /// How often an instance is looked at while something is on its way; --resync, if that is shorter
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = from_100ms, env = "CRS_OPERATOR_RESYNC_ACTIVE")]
    resync_active: Duration,

    /// How long an accepted order may stay invisible in the cloud's answers, from 1s up
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = from_1s, env = "CRS_OPERATOR_CLOUD_LAG")]
    cloud_lag: Duration,

    /// How long after its Timestamp the cloud may still accept a request, from 1s up: never shorter than the cloud's own
    /// window (5 minutes; 2 hours by an older document) and the difference of its clocks
    #[arg(long, value_name = "DURATION", default_value = "5m30s", value_parser = from_1s, env = "CRS_OPERATOR_REQUEST_LIFETIME")]
    request_lifetime: Duration,

    /// Where /metrics is served
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8080",
        env = "CRS_OPERATOR_METRICS_BIND_ADDRESS"
    )]
    metrics_bind_address: SocketAddr,

    /// Where /healthz and /readyz are served
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8081",
        env = "CRS_OPERATOR_HEALTH_PROBE_BIND_ADDRESS"
    )]
    health_probe_bind_address: SocketAddr,

    /// Act only while holding the Lease crs-operator in the book's namespace: for several replicas
    #[arg(long, env = "CRS_OPERATOR_LEADER_ELECT")]
    leader_elect: bool,

    /// How log lines look
    #[arg(long, value_enum, default_value = "text", env = "CRS_OPERATOR_LOG_FORMAT")]
    log_format: LogFormat,

    /// URL of a collector that takes traces by OTLP, HTTP and protobuf (usually port 4318); without a path /v1/traces is added. OTEL_TRACES_SAMPLER
    /// and other variables of the OpenTelemetry SDK count too [default: no traces]
    #[arg(long, value_name = "URL", env = "CRS_OPERATOR_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Api {
    /// Version 2, redis.api.qcloud.com
    V2,
    /// API 3.0, redis.tencentcloudapi.com (international accounts: --api-endpoint https://redis.intl.tencentcloudapi.com)
    V3,
}

impl Api {
    fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }
}

fn from_1s(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_secs(1), text)
}

fn from_100ms(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_millis(100), text)
}

/// A year is the longest: the policy adds these to times.
fn at_least(least: Duration, text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 500ms, 4s or 5m"))?;
    if duration < least || duration > Duration::from_secs(365 * 24 * 3600) {
        return Err(format!("it must be from {} to 1y", humantime::format_duration(least)));
    }
    Ok(duration)
}

pub async fn run(args: RunArgs) -> Result<(), Error> {
    // kube and reqwest share this one; each on its own would bring another, and panic.
    let installed = rustls::crypto::ring::default_provider().install_default();
    let identity = identity();
    let collector = args.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
    let traces = collector
        .map(|endpoint| Traces::to(endpoint, &identity))
        .transpose()
        .map_err(|error| Error::Usage(format!("--otlp-endpoint: {error}")))?;
    telemetry::init(args.log_format, traces.as_ref());
    if installed.is_err() {
        tracing::debug!("a TLS provider is installed already");
    }
    no_core_dumps();
    let ended = operate(args, identity).await;
    if let Some(traces) = traces {
        traces.shut_down().await;
    }
    ended
}

async fn operate(args: RunArgs, identity: String) -> Result<(), Error> {
    let config = kube_config().await?;
    let own_namespace = std::env::var("POD_NAMESPACE").ok().filter(|namespace| !namespace.is_empty());
    let given = args.book_namespace.clone().filter(|namespace| !namespace.is_empty());
    let book_namespace = given.or(own_namespace).unwrap_or_else(|| config.default_namespace.clone());
    let (metrics, stopping) = (Arc::new(Metrics::new()), CancellationToken::new());
    let parts = Parts {
        client: connect(config.clone())?,
        cloud: cloud(args.api, args.api_endpoint.as_deref())
            .map_err(|error| Error::Usage(format!("--api-endpoint: {error}")))?,
        limits: Limits::new(args.cloud_rate, rand::random)
            .map_err(|error| Error::Usage(format!("--cloud-rate: {error}")))?,
        policy: policy(&args),
        namespaces: watched(&args.namespaces),
        concurrency: args.concurrency,
        most_whole: MOST_WHOLE,
        book_namespace: book_namespace.clone(),
        identity: identity.clone(),
        metrics: metrics.clone(),
        stopping: stopping.clone(),
    };
    let assembly = Arc::new(Assembly::new(parts, Timestamp::now, rand::random));
    stop_on_signals(stopping.clone())?;

    let leads = Arc::new(AtomicBool::new(false));
    let ready = {
        let (assembly, leads) = (assembly.clone(), leads.clone());
        // One that stands by is ready for that.
        Arc::new(move || !leads.load(Ordering::Relaxed) || assembly.is_synced())
    };
    let served = serve(args.metrics_bind_address, args.health_probe_bind_address, metrics.clone(), ready)
        .await
        .map_err(|error| format!("--metrics-bind-address or --health-probe-bind-address: {error}"))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), api = args.api.name(), book_namespace, metrics = %served.0, health = %served.1, identity, "crs-operator starts");

    let leader = match args.leader_elect {
        false => None,
        true => tokio::select! {
            leader = Leader::elected(election_client(config)?, &book_namespace, &identity) => Some(leader),
            () = stopping.cancelled() => return Ok(()),
        },
    };
    leads.store(true, Ordering::Relaxed);
    metrics.leader(true);
    tracing::info!("this process acts");

    let lost = AtomicBool::new(false);
    let ended = tokio::select! {
        ended = assembly.run() => ended,
        never = keep_lease(leader.as_ref(), &metrics, &stopping, &lost) => match never {},
    };
    if lost.into_inner() {
        return Err(Error::Failed("the lease is lost".into()));
    }
    if let Some(leader) = leader {
        leader.release().await;
    }
    ended.map_err(Error::Failed)
}

/// The way to the cluster.
async fn kube_config() -> Result<Config, String> {
    let mut config = Config::infer()
        .await
        .map_err(|error| format!("no cluster to work with: {error}. Set KUBECONFIG, or run in a pod"))?;
    // A repeated create could not be told from somebody else's, and up to a quarter of an hour of tries would outlast the right to send.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    // Longer than a watch may be silent (290 s); a list has no other bound.
    config.read_timeout = Some(Duration::from_secs(300));
    config.reset_reader_on_write = true;
    Ok(config)
}

fn connect(config: Config) -> Result<Client, String> {
    Client::try_from(config).map_err(|error| format!("the kubeconfig can't be used: {error}"))
}

/// A renewal without an answer must fail, twice, before the lease ends.
fn election_client(mut config: Config) -> Result<Client, String> {
    config.connect_timeout = Some(Duration::from_secs(2));
    config.read_timeout = Some(Duration::from_secs(2));
    connect(config)
}

/// What the arguments say of how it works.
fn policy(args: &RunArgs) -> Policy {
    Policy {
        lag: signed(args.cloud_lag),
        lifetime: signed(args.request_lifetime),
        resync: args.resync,
        active: args.resync_active.min(args.resync),
    }
}

fn cloud(api: Api, endpoint: Option<&str>) -> Result<Arc<dyn Cloud>, EndpointError> {
    Ok(match api {
        Api::V2 => Arc::new(V2::new(endpoint, rand::random, Timestamp::now)?),
        Api::V3 => Arc::new(V3::new(endpoint, Timestamp::now)?),
    })
}

/// Keeps the lease, if there is one. When it is lost, all work is told to end.
async fn keep_lease(
    leader: Option<&Leader>,
    metrics: &Metrics,
    stopping: &CancellationToken,
    lost: &AtomicBool,
) -> Infallible {
    if let Some(leader) = leader {
        leader.lost().await;
        tracing::error!("the lease is lost: this process ends, another one acts");
        lost.store(true, Ordering::Relaxed);
        metrics.leader(false);
        stopping.cancel();
    }
    std::future::pending().await
}

/// Each namespace once, `None` for all. An empty name, as an empty variable gives it, is none.
fn watched(named: &[String]) -> Vec<Option<String>> {
    let named: BTreeSet<_> = named.iter().filter(|namespace| !namespace.is_empty()).cloned().collect();
    if named.is_empty() { vec![None] } else { named.into_iter().map(Some).collect() }
}

/// The first signal ends the work in order, the second at once.
fn stop_on_signals(stopping: CancellationToken) -> Result<(), String> {
    let signals = || Ok::<_, std::io::Error>((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    let (mut terminate, mut interrupt) = signals().map_err(|error| format!("signals: {error}"))?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping: nothing new is ordered");
        stopping.cancel();
        next().await;
        tracing::warn!("stopped at once by a second signal");
        std::process::exit(1);
    });
    Ok(())
}

/// A core dump would hold the cloud's keys.
fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
}

/// The pod's name, or the machine's, and something that no other process has.
fn identity() -> String {
    let name =
        ["POD_NAME", "HOSTNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    format!("{:.100}-{:08x}", name.as_deref().unwrap_or("crs-operator"), rand::random::<u32>())
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_is_watched_once_and_no_name_means_all() {
        let watched = |names: &[&str]| watched(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(watched(&[]), [None]);
        assert_eq!(watched(&[""]), [None]);
        assert_eq!(watched(&["shop", "bank", "shop", ""]), [Some("bank".into()), Some("shop".into())]);
    }
}
