//! What people and machines see of the running operator: logs, metrics, traces.

mod logs;
mod metrics;
mod traces;

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

pub use logs::LogFormat;
pub use metrics::Metrics;
pub use traces::Traces;

/// Sends log lines to stderr, as `RUST_LOG` says (default: `info`); and spans to the collector, if there is one, whatever is logged.
pub fn init(format: LogFormat, traces: Option<&Traces>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    subscriber(format, filter, std::io::stderr, traces).init();
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    writer: W,
    traces: Option<&Traces>,
) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::registry().with(traces.map(Traces::layer)).with(logs::layer(format, filter, writer))
}
