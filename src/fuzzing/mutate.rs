//! Changes to an input that keep it near what readers expect: most of what goes wrong is nearly right.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};

use super::oracle::{KEY, SIGNATURE, TOKEN};

/// In the place of a number, wherever one stands.
const NUMBERS: [&str; 16] = [
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "1024",
    "2048",
    "1025",
    "2048.0",
    "2048.5",
    "1e3",
    "-9223372036854775808",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1e999",
];
const WORDS: [&str; 14] = [
    "",
    "0",
    "Success",
    "(10701)no",
    "crs-1",
    "a\u{1b}[31m\r\nb",
    "\u{202e}c",
    "https://x.y/?Signature=1",
    "é余",
    KEY,
    TOKEN,
    SIGNATURE,
    "RequestId: 4c1b2a30-1111-4f00-9c4d-0123456789ab",
    "9999-12-31T23:59:59Z",
];

/// Another input, by the seed.
pub fn mutate(data: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut data = data.to_vec();
    for _ in 0..rng.random_range(1..4) {
        data = match serde_json::from_slice(&data) {
            Ok(value) if rng.random_ratio(3, 4) => structure(value, &mut rng).into_bytes(),
            _ => bytes(data, &mut rng),
        };
    }
    data
}

fn structure(mut value: Value, rng: &mut impl Rng) -> String {
    let nodes = count(&value);
    let donor = node(&mut value, &mut rng.random_range(0..nodes)).cloned().unwrap_or_default();
    let chosen = rng.random_range(0..nodes);
    let word = *WORDS.choose(rng).unwrap_or(&"");
    let depth = rng.random_range(1..300);
    let Some(one) = node(&mut value, &mut { chosen }) else { return String::new() };
    match (rng.random_range(0..12), &mut *one) {
        (0, _) => *one = donor,
        (1, _) => *one = word.into(),
        (2, Value::Number(number)) => *one = number.to_string().into(),
        (2, Value::String(text)) => {
            text.push_str(word);
        }
        (3, Value::Number(number)) => *one = (-number.as_f64().unwrap_or(1.0)).into(),
        (4, Value::Array(rows)) if !rows.is_empty() => {
            let row = rows[rng.random_range(0..rows.len())].clone();
            rows.insert(rng.random_range(0..=rows.len()), row);
        }
        (5, Value::Array(rows)) if !rows.is_empty() => {
            rows.remove(rng.random_range(0..rows.len()));
        }
        (6, Value::Object(fields)) if !fields.is_empty() => {
            let name = fields.keys().nth(rng.random_range(0..fields.len())).cloned().unwrap_or_default();
            fields.remove(&name);
        }
        (7, Value::Object(fields)) => {
            fields.insert(word.to_owned(), donor);
        }
        (8, _) => *one = (0..depth).fold(one.take(), |inner, _| json!([inner])),
        (9, _) => *one = json!("x".repeat(depth * 10)),
        (10, _) => *one = [json!(null), json!([]), json!({}), json!(true), json!(-1), json!(2.5)][depth % 6].clone(),
        _ => {}
    }
    let mut text = String::new();
    // One key twice, now and then.
    let twice = if rng.random_ratio(1, 8) { rng.random_range(0..nodes) } else { usize::MAX };
    write(&value, &mut { twice }, &mut text);
    text
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The node of this number.
fn node<'a>(value: &'a mut Value, number: &mut usize) -> Option<&'a mut Value> {
    if *number == 0 {
        return Some(value);
    }
    *number -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|inner| node(inner, number)),
        Value::Object(fields) => fields.values_mut().find_map(|inner| node(inner, number)),
        _ => None,
    }
}

/// As JSON; the field of number `twice` stands there twice.
fn write(value: &Value, twice: &mut usize, text: &mut String) {
    match value {
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                text.push_str(if index == 0 { "[" } else { "," });
                write(inner, twice, text);
            }
            text.push_str(if list.is_empty() { "[]" } else { "]" });
        }
        Value::Object(fields) => {
            text.push('{');
            for (index, (name, inner)) in fields.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                let name = json!(name);
                if *twice == 0 {
                    text.push_str(&format!("{name}:1024,"));
                }
                *twice = twice.wrapping_sub(1);
                text.push_str(&format!("{name}:"));
                write(inner, twice, text);
            }
            text.push('}');
        }
        leaf => text.push_str(&leaf.to_string()),
    }
}

fn bytes(mut data: Vec<u8>, rng: &mut impl Rng) -> Vec<u8> {
    let at = rng.random_range(0..=data.len());
    let end = (at + rng.random_range(0..16)).min(data.len());
    let piece = match rng.random_range(0..6) {
        0 => vec![],
        1 => data[at..end].repeat(2),
        2 => WORDS.choose(rng).unwrap_or(&"").as_bytes().to_vec(),
        3 => vec![rng.random(); 1],
        4 => {
            data.truncate(at);
            return data;
        }
        // The number that comes next.
        _ => {
            let digits = |from: usize| data[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let from = (at..data.len()).find(|from| digits(*from) > 0).unwrap_or(at);
            let to = from + digits(from);
            data.splice(from..to, NUMBERS.choose(rng).unwrap_or(&"0").bytes());
            return data;
        }
    };
    data.splice(at..end, piece);
    data
}
