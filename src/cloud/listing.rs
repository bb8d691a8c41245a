//! What answers of both APIs have in common: lists of instances, deals, and values that can't be believed.

use std::collections::HashMap;

use serde_json::Value;

use super::json::integer;
use super::{CloudError, DealState, Instance, InstanceState, Page};

/// Bound on the doubts of one page, and on the length of an id, in bytes.
const MOST_DOUBTS: usize = 10;
const LONGEST_ID: usize = 64;
/// Bound on a value that is quoted, in bytes.
const LONGEST_SHOWN: usize = 80;

/// The answer can be read and must not be believed.
pub(super) fn doubtful(what: impl Into<String>) -> CloudError {
    CloudError::no_answer("Doubtful", what)
}

/// A page of a list that has `total` rows, from row `offset` on; the next one begins at `next`.
pub(super) fn page(
    rows: &[Value],
    total: usize,
    offset: usize,
    next: usize,
    instance: impl Fn(&Value) -> Result<Instance, CloudError>,
) -> Result<Page, CloudError> {
    let end = offset.saturating_add(rows.len());
    if total < end && !rows.is_empty() {
        return Err(doubtful(format!("totalCount is {total}, but there are rows up to number {end}")));
    }
    if total > end && rows.is_empty() {
        return Err(doubtful(format!("totalCount is {total}, but from row {offset} on there are none")));
    }
    let (mut instances, mut doubts) = (Vec::new(), Vec::new());
    for row in rows {
        match instance(row) {
            Ok(instance) => instances.push(instance),
            Err(error) if doubts.len() < MOST_DOUBTS => doubts.push(error.message),
            Err(_) => {}
        }
    }
    let mut times: HashMap<String, usize> = HashMap::new();
    for instance in &instances {
        *times.entry(instance.redis_id.clone()).or_default() += 1;
    }
    // Which of the two rows is right can't be known.
    instances.retain(|instance| times.get(&instance.redis_id) == Some(&1));
    let mut twice: Vec<_> = times.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect();
    twice.sort();
    doubts.extend(twice.iter().map(|id| format!("{id} stands in the list more than once")));
    doubts.truncate(MOST_DOUBTS);
    Ok(Page { next: (next < total).then_some(next), instances, doubts })
}

/// The only row of the list for one id.
pub(super) fn found(
    rows: &[Value],
    total: Option<usize>,
    redis_id: &str,
    instance: impl Fn(&Value) -> Result<Instance, CloudError>,
) -> Result<Option<Instance>, CloudError> {
    if let Some(total) = total.filter(|total| *total != rows.len()) {
        let message = format!("asked for {redis_id}: totalCount is {total}, but there are {} rows", rows.len());
        return Err(doubtful(message));
    }
    match rows {
        [] => Ok(None),
        [row] => {
            let instance = instance(row)?;
            if instance.redis_id != redis_id {
                return Err(doubtful(format!("asked for {redis_id}, the answer shows {}", instance.redis_id)));
            }
            Ok(Some(instance))
        }
        _ => Err(doubtful(format!("asked for {redis_id}, the answer has {} rows", rows.len()))),
    }
}

/// The rows of a list.
pub(super) fn rows<'a>(set: Option<&'a Value>, total: Option<usize>, name: &str) -> Result<&'a [Value], CloudError> {
    match set {
        Some(Value::Array(rows)) => Ok(rows),
        // How some servers write an empty list; not without the number that says so too.
        Some(Value::Null) if total == Some(0) => Ok(&[]),
        _ => Err(doubtful(format!("the answer has no {name}"))),
    }
}

/// How many rows the whole list has, where that is said.
pub(super) fn total(total: Option<&Value>) -> Result<Option<usize>, CloudError> {
    let read = |total| integer(total).and_then(|total| usize::try_from(total).ok());
    let doubt = || doubtful(format!("totalCount is {}", shown(total)));
    total.map(|total| read(total).ok_or_else(doubt)).transpose()
}

/// Size and state, which both APIs name alike but for the letters.
pub(super) fn size_and_state(
    id: &str,
    size: Option<&Value>,
    status: Option<&Value>,
) -> Result<(i64, InstanceState), CloudError> {
    let Some(mb) = size.and_then(integer).filter(|mb| *mb > 0) else {
        return Err(doubtful(format!("{id} has the size {}", shown(size))));
    };
    let Some(number) = status.and_then(integer) else {
        return Err(doubtful(format!("{id} has the status {}", shown(status))));
    };
    Ok((mb, state(number)))
}

pub(super) fn id(id: Option<&Value>) -> Result<&str, CloudError> {
    let sound = id.and_then(Value::as_str).filter(|id| !id.is_empty() && id.len() <= LONGEST_ID);
    sound.ok_or_else(|| doubtful(format!("a row has the id {}", shown(id))))
}

/// Both APIs give the states of an instance the same numbers.
fn state(number: i64) -> InstanceState {
    match number {
        0 => InstanceState::Initializing,
        1 => InstanceState::InProcess,
        2 => InstanceState::Running,
        -2 => InstanceState::Isolated,
        other => InstanceState::Unknown(other),
    }
}

/// And those of a deal.
pub(super) fn deal_state(number: i64) -> DealState {
    match number {
        4 => DealState::Delivered,
        5..=11 => DealState::Failed(number),
        _ => DealState::Pending(number),
    }
}

/// Can it be the number or the name of a deal?
pub(super) fn is_deal(id: &str) -> bool {
    let word = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    word && !id.is_empty() && !id.starts_with('-') && id != "0" && id.len() <= LONGEST_ID
}

/// A value for a message: whole, since of a secret that was cut its beginning could no longer be told from other text.
pub(super) fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "(none)".to_owned() };
    let text = value.to_string();
    if text.len() <= LONGEST_SHOWN { text } else { format!("({} bytes of JSON)", text.len()) }
}
