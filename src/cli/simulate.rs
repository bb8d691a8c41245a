//! `crs-operator simulate`: a stand-in for the cloud on loopback.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::simulator::{Config, Key, NewInstance, Simulator, WhileInvisible};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  Ten instances, crs-00000001 to crs-00000010, for the key AKIDSIMULATOR:
      crs-operator simulate --listen 127.0.0.1:8086 --count 10
  A slow cloud that hides what it has accepted for 10 seconds, and takes second orders meanwhile:
      crs-operator simulate --count 1 --upgrade-time 1m --visible-after 10s --while-invisible accept
  What was ordered, and the next order's answer lost (UpgradeInstance in 3.0):
      curl http://127.0.0.1:8086/_sim/ledger
      curl -X PUT http://127.0.0.1:8086/_sim/faults -d '[{\"action\":\"UpgradeRedis\",\"kind\":\"drop-after\",\"times\":1}]'";

/// Serve the cloud's API (version 2 and 3.0) on loopback, from what its documents say
///
/// Both versions show the same instances, orders and money: version 2 is at /v2/index.php, 3.0 at / by POST.
/// The first line on stdout is the URL to give to `crs-operator run --api-endpoint`. Everything is in memory, and is
/// looked at and changed under /_sim/ of the same address: ledger, instances, balance, clock, deals, faults.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct SimulateArgs {
    /// Address to listen on, a loopback one; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", value_parser = loopback)]
    listen: SocketAddr,

    /// A key that the cloud knows, each an account of its own; repeatable. Without any: AKIDSIMULATOR:simulated-secret-key
    #[arg(long = "key", value_name = "ID:KEY[:TOKEN]", value_parser = key)]
    keys: Vec<Key>,

    /// The id of just one key, the first if there are more
    #[arg(long, value_name = "ID", requires = "secret_key")]
    secret_id: Option<String>,

    /// The secret of --secret-id
    #[arg(long, value_name = "KEY", requires = "secret_id")]
    secret_key: Option<String>,

    /// How many instances to begin with: crs-00000001 and so on, 1024 MB, running, standard, in gz, of the first key
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    count: u32,

    /// A YAML list of instances to begin with: redisId, and if wanted memSize (MB of the whole), shards, replicas,
    /// status, locked (true or false), region, account (a key's id), zoneId (100002, 300001; in 100003 all is sold
    /// out), typeId (1 cluster, 2 standard), billingMode (0 postpaid, 1 prepaid), redisName, projectId, vpcId, subnetId
    #[arg(long, value_name = "FILE")]
    instances: Option<PathBuf>,

    /// Balance of each account in fen (0.01 CNY) [default: unlimited]
    #[arg(long, value_name = "FEN")]
    balance: Option<u64>,

    /// How long an upgrade takes once it shows
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    upgrade_time: Duration,

    /// How long an accepted order doesn't show
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    visible_after: Duration,

    /// How long an order waits that is for the maintenance window (3.0's SwitchOption 1); nothing of it shows meanwhile
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    maintenance_wait: Duration,

    /// How far a request's Timestamp may be off
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    timestamp_window: Duration,

    /// Accept a Nonce more than once (version 2; 3.0 has none, and carries out whatever is sent twice)
    #[arg(long)]
    no_replay_protection: bool,

    /// How many calls of 3.0 a second are answered for each account, region and action; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 20)]
    rate_limit: u32,

    /// What a second order gets while the first doesn't show
    #[arg(long, value_enum, default_value_t)]
    while_invisible: WhileInvisible,

    /// Seed of the faults that strike at a rate
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|error| format!("{error}; write it as 127.0.0.1:8086"))?;
    if address.ip().is_loopback() { Ok(address) } else { Err("only a loopback address may be listened on".into()) }
}

fn key(text: &str) -> Result<Key, String> {
    let mut parts = text.splitn(3, ':').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(id), Some(secret), token) if !id.is_empty() && !secret.is_empty() && token.as_deref() != Some("") => {
            Ok(Key { id, secret, token })
        }
        _ => Err("it looks like ID:KEY, or ID:KEY:TOKEN for a temporary one".into()),
    }
}

/// Serves until SIGTERM or SIGINT. The error is for the person at the terminal.
pub async fn run(args: SimulateArgs) -> Result<(), String> {
    let listen = args.listen;
    let simulator = Simulator::new(config(args)?).map_err(|error| error.to_string())?;
    // Before the URL is out: who reads it may end us at once.
    let (mut term, mut int) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("can't listen on {listen}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    writeln!(std::io::stdout(), "http://{address}").map_err(|error| format!("can't write to stdout: {error}"))?;
    let shutdown = async move {
        tokio::select! { _ = term.recv() => (), _ = int.recv() => () }
    };
    simulator.serve(listener, shutdown).await.map_err(|error| error.to_string())
}

fn catch(kind: SignalKind) -> Result<tokio::signal::unix::Signal, String> {
    signal(kind).map_err(|error| format!("can't listen for signals: {error}"))
}

fn config(args: SimulateArgs) -> Result<Config, String> {
    let defaults = Config::default();
    let single = args.secret_id.zip(args.secret_key).map(|(id, secret)| Key { id, secret, token: None });
    let keys: Vec<_> = single.into_iter().chain(args.keys).collect();
    let named = |n| NewInstance { redis_id: format!("crs-{n:08}"), ..NewInstance::default() };
    let mut instances: Vec<_> = (1..=args.count).map(named).collect();
    if let Some(file) = &args.instances {
        instances.extend(read_instances(file)?);
    }
    Ok(Config {
        keys: if keys.is_empty() { defaults.keys } else { keys },
        instances,
        balance: args.balance,
        upgrade_time: args.upgrade_time,
        visible_after: args.visible_after,
        maintenance_wait: args.maintenance_wait,
        timestamp_window: args.timestamp_window,
        replay_protection: !args.no_replay_protection,
        rate_limit: args.rate_limit,
        while_invisible: args.while_invisible,
        seed: args.seed,
    })
}

fn read_instances(file: &Path) -> Result<Vec<NewInstance>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("can't read {}: {error}", file.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("{} is no list of instances: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parse(flags: &[&str]) -> Result<Config, String> {
        let flags = std::iter::once(&"simulate").chain(flags);
        config(Program::try_parse_from(flags).map_err(|error| error.to_string())?.args)
    }

    fn keys(flags: &[&str]) -> Vec<(String, String, Option<String>)> {
        parse(flags).unwrap().keys.into_iter().map(|key| (key.id, key.secret, key.token)).collect()
    }

    #[test]
    fn keys_come_in_their_order_and_there_is_always_one() {
        let key = |id: &str, secret: &str, token: Option<&str>| (id.into(), secret.into(), token.map(Into::into));
        assert_eq!(keys(&[]), [key("AKIDSIMULATOR", "simulated-secret-key", None)]);
        assert_eq!(
            keys(&["--key", "a:b", "--key", "c:d:e:f", "--secret-id", "g", "--secret-key", "h"]),
            [key("g", "h", None), key("a", "b", None), key("c", "d", Some("e:f"))]
        );
        for wrong in
            [&["--key", "a"][..], &["--key", "a:"], &["--key", ":b"], &["--key", "a:b:"], &["--secret-id", "a"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn counted_instances_come_before_those_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let yaml = "- {redisId: crs-x, memSize: 2048, status: -2, region: ap-shanghai, account: a, zoneId: 300001, \
                    typeId: 1, shards: 2, replicas: 0, billingMode: 0, locked: true}";
        std::fs::write(&file, yaml).unwrap();
        let path = file.path().to_str().unwrap();
        let instances = parse(&["--count", "2", "--instances", path]).unwrap().instances;
        let ids: Vec<_> = instances.iter().map(|instance| (instance.redis_id.as_str(), instance.mem_size)).collect();
        assert_eq!(ids, [("crs-00000001", 1024), ("crs-00000002", 1024), ("crs-x", 2048)]);
        assert_eq!((instances[2].status, instances[2].region.as_str()), (-2, "ap-shanghai"));
        let NewInstance { shards, replicas, billing_mode, locked, .. } = instances[2];
        assert_eq!((shards, replicas, billing_mode, locked), (2, 0, 0, true));
        std::fs::write(&file, "- {redisId: crs-x, memsize: 2048}").unwrap();
        assert!(parse(&["--instances", path]).unwrap_err().contains("memsize"), "a misspelt field is named");
    }

    #[test]
    fn durations_have_units_and_only_loopback_is_taken() {
        assert_eq!(parse(&["--upgrade-time", "500ms"]).unwrap().upgrade_time, Duration::from_millis(500));
        assert_eq!(parse(&["--maintenance-wait", "3h"]).unwrap().maintenance_wait, Duration::from_secs(3 * 3600));
        assert!(parse(&["--upgrade-time", "5"]).is_err());
        assert!(parse(&["--listen", "0.0.0.0:80"]).is_err());
        assert!(parse(&["--listen", "[::1]:80"]).is_ok());
    }
}
