//! JSON from a cloud that may say anything: strict about structure, tolerant about how numbers are written.

use std::cell::Cell;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::CloudError;

/// Bound on the values in an answer: an empty list takes two bytes there and dozens here. Those of 1000 instances of 3.0 are a fraction of that.
const MOST_VALUES: usize = 500_000;

/// Reads a body. Depth is bounded by serde_json (128), the memory that it takes by [`MOST_VALUES`] and the length of the body. A key that stands
/// twice in one object makes the whole answer doubtful, since readers disagree on which of the two counts.
pub(super) fn parse(body: &[u8]) -> Result<Value, CloudError> {
    let left = Cell::new(MOST_VALUES);
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Unsure(&left).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match value {
        Ok(value) => Ok(value),
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

/// Holds how many more values there may be.
#[derive(Clone, Copy)]
struct Unsure<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Unsure<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| D::Error::custom("the answer has too many values"))?;
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unsure<'_> {
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
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
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
    fn an_answer_of_more_values_than_any_has_is_doubtful() {
        let list = |values: usize| format!("[{}[]]", "[],".repeat(values - 2));
        assert!(parse(list(MOST_VALUES).as_bytes()).is_ok());
        let error = parse(list(MOST_VALUES + 1).as_bytes()).unwrap_err();
        assert_eq!(error.code_desc, "Doubtful");
        assert!(error.message.contains("too many values"), "{}", error.message);
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
