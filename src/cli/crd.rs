//! `crs-operator crd`: prints both CustomResourceDefinitions as YAML.

use std::io::Write;

use kube::CustomResourceExt;

use crate::api::{RedisInstance, redis_upgrade_crd};

pub fn print() -> Result<(), String> {
    for crd in [RedisInstance::crd(), redis_upgrade_crd()] {
        let yaml = serde_saphyr::to_string(&crd).map_err(|error| error.to_string())?;
        match writeln!(std::io::stdout(), "---\n{}", yaml.trim_end()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            written => written.map_err(|error| error.to_string())?,
        }
    }
    Ok(())
}
