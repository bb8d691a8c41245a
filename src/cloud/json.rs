//! JSON from a cloud that may say anything: strict about structure, tolerant about how numbers are written.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::CloudError;

/// Reads a body. Depth is bounded by serde_json (128). A key that stands twice in one object makes the whole answer
/// doubtful, since readers disagree on which of the two counts.
pub(super) fn parse(body: &[u8]) -> Result<Value, CloudError> {
    let unique: Result<Unique, _> = serde_json::from_slice(body);
    match unique {
        Ok(Unique(value)) => Ok(value),
        Err(error) if error.is_data() => Err(CloudError::no_answer("Doubtful", error.to_string())),
        Err(error) => Err(CloudError::no_answer("Unreadable", format!("the answer is no JSON: {error}"))),
    }
}

/// A whole number, also when it is written as a string or as a float.
pub(super) fn integer(value: &Value) -> Option<i64> {
    /// Up to here each whole number has a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT)?;
            Some(float as i64) // exact, by the line above
        }),
        Value::String(text) => {
            let text = text.trim();
            let whole = text.split_once('.').filter(|(_, part)| part.bytes().all(|digit| digit == b'0'));
            whole.map_or(text, |(whole, _)| whole).parse().ok()
        }
        _ => None,
    }
}

/// A text that is not empty, also when it is written as a number.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(_) => integer(value).map(|number| number.to_string()),
        _ => None,
    }
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Unsure).map(Self)
    }
}

struct Unsure;

impl<'de> Visitor<'de> for Unsure {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Unique(value))) = entries.next_entry::<String, _>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the answer has the key {key:?} twice")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_are_read_in_each_spelling_and_nothing_else_is() {
        for good in [json!(2048), json!("2048"), json!(2048.0), json!(" 2048 "), json!("2048.00")] {
            assert_eq!(integer(&good), Some(2048), "{good}");
        }
        assert_eq!(integer(&json!(-2)), Some(-2));
        for bad in [
            "2048.5",
            "\"2048.5\"",
            "18446744073709551616",
            "9223372036854775808",
            "1e300",
            "\"\"",
            "\"2 GB\"",
            "null",
            "[1]",
        ] {
            let value: Value = serde_json::from_str(bad).unwrap();
            assert_eq!(integer(&value), None, "{bad}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_doubtful_and_named() {
        let error = parse(br#"{"data":[{"size":1024,"size":2048}]}"#).unwrap_err();
        assert_eq!(error.code_desc, "Doubtful");
        assert!(error.message.contains(r#"the key "size" twice"#), "{}", error.message);
    }

    #[test]
    fn what_is_no_json_is_unreadable() {
        let deep = "[".repeat(100_000);
        for body in ["", "<html></html>", r#"{"code":"#, r#"{"code":0} {}"#, &deep] {
            assert_eq!(parse(body.as_bytes()).unwrap_err().code_desc, "Unreadable", "{body:.20}");
        }
        assert_eq!(parse(b"\"\xff\"").unwrap_err().code_desc, "Unreadable");
    }
}
