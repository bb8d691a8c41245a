//! Metrics. No label is ever a redisId or a name: the number of series stays the same however many instances there are.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabel {
    action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    action: &'static str,
    code: String,
}

/// What labels are known before anything has happened. They are there from the start, as 0: Prometheus sees no increase in a series that comes
/// into being at 1.
const RESULTS: [&str; 2] = ["ok", "error"];
const OUTCOMES: [&str; 7] = ["written", "placed", "fulfilled", "failed", "refused", "abandoned", "unknown"];
const STATES: [&str; 4] = ["ready", "reconciling", "stalled", "unknown"];

/// The operator's metrics.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ResultLabel, Counter>,
    reconcile_duration: Histogram,
    cloud_requests: Family<CallLabels, Counter>,
    cloud_request_duration: Family<ActionLabel, Histogram, fn() -> Histogram>,
    cloud_throttled: Counter<f64, AtomicU64>,
    cloud_clock_offset: Gauge<f64, AtomicU64>,
    upgrades: Family<OutcomeLabel, Counter>,
    instances: Family<StateLabel, Gauge<i64, AtomicI64>>,
    leader: Gauge<i64, AtomicI64>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut all = Registry::default();
        let registry = all.sub_registry_with_prefix("crs_operator");
        let reconciles = Family::default();
        let reconcile_duration = seconds();
        let cloud_requests = Family::default();
        let cloud_request_duration = Family::new_with_constructor(seconds as fn() -> Histogram);
        let cloud_throttled = Counter::default();
        let cloud_clock_offset = Gauge::default();
        let upgrades = Family::default();
        let instances = Family::default();
        let leader = Gauge::default();
        registry.register("reconcile", "Reconciles, by result", reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Time of a reconcile",
            Unit::Seconds,
            reconcile_duration.clone(),
        );
        registry.register(
            "cloud_requests",
            "Calls of the cloud, by action and error code (0: success, none: no answer, other: a code that isn't documented)",
            cloud_requests.clone(),
        );
        registry.register_with_unit(
            "cloud_request_duration",
            "Time of a call of the cloud",
            Unit::Seconds,
            cloud_request_duration.clone(),
        );
        registry.register_with_unit(
            "cloud_throttled",
            "Time that calls of the cloud were put off, for --cloud-rate or since the cloud asked for it",
            Unit::Seconds,
            cloud_throttled.clone(),
        );
        registry.register_with_unit(
            "cloud_clock_offset",
            "How far the cloud's clock is ahead of this machine's",
            Unit::Seconds,
            cloud_clock_offset.clone(),
        );
        registry.register("upgrades", "Entries of the account book, by what came of them", upgrades.clone());
        registry.register("instances", "RedisInstances, by how it stands with them", instances.clone());
        registry.register("leader", "1 while this process acts, 0 while it stands by", leader.clone());
        registry.register("build", "Version of the operator", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        all.register_collector(Box::new(Process));
        for result in RESULTS {
            drop(reconciles.get_or_create(&ResultLabel { result }));
        }
        for outcome in OUTCOMES {
            drop(upgrades.get_or_create(&OutcomeLabel { outcome }));
        }
        for state in STATES {
            drop(instances.get_or_create(&StateLabel { state }));
        }
        Self {
            registry: all,
            reconciles,
            reconcile_duration,
            cloud_requests,
            cloud_request_duration,
            cloud_throttled,
            cloud_clock_offset,
            upgrades,
            instances,
            leader,
        }
    }

    /// There will be calls of these actions.
    pub fn expect_calls(&self, actions: &[&'static str]) {
        for &action in actions {
            drop(self.cloud_requests.get_or_create(&CallLabels { action, code: "0".to_owned() }));
            drop(self.cloud_request_duration.get_or_create(&ActionLabel { action }));
        }
    }

    /// A reconcile has ended.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        debug_assert!(RESULTS.contains(&result), "{result}");
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// A call of the cloud has ended; `code` is from a bounded set.
    pub fn called(&self, action: &'static str, code: String, took: Duration) {
        self.cloud_requests.get_or_create(&CallLabels { action, code }).inc();
        self.cloud_request_duration.get_or_create(&ActionLabel { action }).observe(took.as_secs_f64());
    }

    /// A call was put off.
    pub fn throttled(&self, wait: Duration) {
        self.cloud_throttled.inc_by(wait.as_secs_f64());
    }

    pub fn clock_offset(&self, seconds: f64) {
        self.cloud_clock_offset.set(seconds);
    }

    /// Something came of an entry: `written`, or its phase in lower case, or `unknown`.
    pub fn upgrade(&self, outcome: &'static str) {
        debug_assert!(OUTCOMES.contains(&outcome), "{outcome}");
        self.upgrades.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A `RedisInstance` has gone from one state to another.
    pub fn instance(&self, from: Option<&'static str>, to: Option<&'static str>) {
        if let Some(state) = from {
            self.instances.get_or_create(&StateLabel { state }).dec();
        }
        if let Some(state) = to {
            debug_assert!(STATES.contains(&state), "{state}");
            self.instances.get_or_create(&StateLabel { state }).inc();
        }
    }

    pub fn leader(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// All metrics in OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// The usual figures of a process, read when they are asked for.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(figures) = process() else { return Ok(()) };
        let cpu = ConstCounter::new(figures.cpu_seconds);
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", "CPU time used", None, cpu.metric_type())?)?;
        for (name, help, value) in [
            ("process_start_time_seconds", "Start of the process, Unix time", figures.start_time),
            ("process_resident_memory_bytes", "Resident memory", figures.resident),
            ("process_virtual_memory_bytes", "Virtual memory", figures.virtual_),
            ("process_open_fds", "Open file descriptors", figures.open_fds),
            ("process_max_fds", "Limit of open file descriptors", figures.max_fds),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

struct Figures {
    cpu_seconds: f64,
    start_time: f64,
    resident: f64,
    virtual_: f64,
    open_fds: f64,
    max_fds: f64,
}

/// `None` where there is no /proc.
fn process() -> Option<Figures> {
    use procfs::{WithCurrentSystemInfo, process::LimitValue};
    let process = procfs::process::Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let ticks = procfs::ticks_per_second() as f64;
    let max_fds = match process.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => limit as f64,
        LimitValue::Unlimited => f64::INFINITY,
    };
    Some(Figures {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        start_time: procfs::boot_time_secs().ok()? as f64 + stat.starttime as f64 / ticks,
        resident: stat.rss_bytes().get() as f64,
        virtual_: stat.vsize as f64,
        open_fds: process.fd_count().ok()? as f64,
        max_fds,
    })
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the first order of a process would be missing in what an increase tells of its outcomes.
    #[test]
    fn what_is_counted_is_there_from_the_start_as_0() {
        let metrics = Metrics::new();
        metrics.expect_calls(&["UpgradeRedis"]);
        let text = metrics.text();
        for line in [
            r#"crs_operator_reconcile_total{result="error"} 0"#,
            r#"crs_operator_upgrades_total{outcome="written"} 0"#,
            r#"crs_operator_upgrades_total{outcome="unknown"} 0"#,
            r#"crs_operator_instances{state="stalled"} 0"#,
            r#"crs_operator_cloud_requests_total{action="UpgradeRedis",code="0"} 0"#,
            r#"crs_operator_cloud_request_duration_seconds_count{action="UpgradeRedis"} 0"#,
        ] {
            assert!(text.lines().any(|of| of == line), "{line} in\n{text}");
        }
    }
}
