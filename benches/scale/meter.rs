//! What a process costs: itself, the API server, the cloud.

use std::time::{Duration, Instant};

use procfs::process::Process;

use super::{contestant::Running, fleet::Fleet};

/// From a beginning to now.
pub struct Cost {
    pub time: Duration,
    /// MB of memory, now and at most.
    pub resident: f64,
    pub peak: f64,
    /// Seconds of a core.
    pub cpu: f64,
    pub writes: u64,
    pub calls: u64,
}

pub struct Meter {
    began: Instant,
    cpu: f64,
    writes: u64,
    calls: u64,
}

impl Meter {
    /// Before the process is there.
    pub async fn before(fleet: &Fleet) -> Self {
        let (writes, calls) = (fleet.writes().await, fleet.calls().await);
        Self { began: Instant::now(), cpu: 0.0, writes, calls }
    }

    pub async fn start(fleet: &Fleet, running: &Running) -> Self {
        Self { cpu: cpu(running), ..Self::before(fleet).await }
    }

    pub async fn read(self, fleet: &Fleet, running: &Running) -> Cost {
        let (time, cpu) = (self.began.elapsed(), cpu(running) - self.cpu);
        let status = process(running).status().expect("its status");
        let megabytes = |kilobytes: Option<u64>| kilobytes.unwrap_or_default() as f64 / 1024.0;
        Cost {
            time,
            resident: megabytes(status.vmrss),
            peak: megabytes(status.vmhwm),
            cpu,
            writes: fleet.writes().await - self.writes,
            calls: fleet.calls().await - self.calls,
        }
    }
}

fn process(running: &Running) -> Process {
    Process::new(running.id() as i32).expect("it runs")
}

fn cpu(running: &Running) -> f64 {
    let stat = process(running).stat().expect("its times");
    (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64
}

/// The sum of a metric's series, in the text that Prometheus reads.
pub fn sum(text: &str, series: &str) -> f64 {
    let values = text.lines().filter(|line| line.starts_with(series)).filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum()
}

/// Nothing that is waited for takes longer.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(1800), work).await.expect("it takes half an hour")
}
