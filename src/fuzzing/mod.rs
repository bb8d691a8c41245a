//! What outsiders write (the cloud, who edits a Secret, a status or the book, who calls the simulator), and what must hold of whoever reads
//! it, whatever it says. The same functions are fuzzed (`make fuzz`, see `fuzz/README.md`) and, for a moment each, run by `make test`.

mod mutate;
mod oracle;
mod policy;
mod secret;
#[cfg(test)]
mod tests;

pub use mutate::mutate;
pub(crate) use oracle::{KEY, SIGNATURE, TOKEN, assert_clean, assert_clean_error, credentials, has_double_keys};

/// One reader, and all that must hold of it: panics where it doesn't.
type Target = fn(&[u8]);

/// By the names that they have in `fuzz/`.
pub const TARGETS: [(&str, Target); 9] = [
    ("v2_answer", crate::cloud::v2::fuzzing::answer),
    ("v3_answer", crate::cloud::v3::fuzzing::answer),
    ("date", crate::cloud::fuzzing::date),
    ("text", crate::cloud::fuzzing::text),
    ("secret", secret::content),
    ("instance", policy::instance),
    ("book", policy::book),
    ("simulator", crate::simulator::fuzzing::requests),
    ("instances_file", crate::simulator::fuzzing::instances_file),
];

/// An object as the API server sends it; most inputs are none.
fn decode<T: serde::de::DeserializeOwned>(data: &[u8]) -> Option<T> {
    serde_json::from_slice(data).ok()
}

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no target {name}"));
    target(data);
}
