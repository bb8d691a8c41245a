//! Prints the reference of both resources as Markdown, from `crds/`. `make generate` writes it to docs/api.md.

use std::{error::Error, fs};

use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "# Reference of the resources\n\nGenerated from `crds/` by `make generate`; `kubectl explain crs.spec` shows the same."
    );
    for file in ["crds/redisinstances.yaml", "crds/redisupgrades.yaml"] {
        let crd: Value = serde_saphyr::from_str(&fs::read_to_string(file)?)?;
        let spec = &crd["spec"];
        let version = &spec["versions"][0];
        let schema = &version["schema"]["openAPIV3Schema"];
        println!("\n## {}\n", text(&spec["names"]["kind"]));
        println!(
            "`{}/{}`, short name `{}`. {}\n",
            text(&spec["group"]),
            text(&version["name"]),
            text(&spec["names"]["shortNames"][0]),
            line(&schema["description"])
        );
        println!("| field | type | what |\n|---|---|---|");
        rows(schema, "");
        for rule in rules(schema) {
            println!("\n- {rule}");
        }
    }
    Ok(())
}

fn rows(schema: &Value, path: &str) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let required = schema["required"].as_array().is_some_and(|names| names.iter().any(|other| other == name));
        let inside = if field["type"] == "array" { &field["items"] } else { field };
        let mark = if required && path.starts_with("spec") { ", required" } else { "" };
        println!("| `{path}` | {}{mark} | {}{} |", text(&field["type"]), line(&field["description"]), bounds(field));
        for rule in rules(field) {
            println!("| | | {rule} |");
        }
        rows(inside, &path);
    }
}

/// What the schema allows, in words.
fn bounds(field: &Value) -> String {
    let mut words = Vec::new();
    for (key, word) in [("minimum", "from"), ("maximum", "to"), ("minLength", "at least"), ("maxLength", "at most")] {
        if let Some(number) = field[key].as_f64() {
            let unit = if key.ends_with("Length") { " characters" } else { "" };
            words.push(format!("{word} {number}{unit}"));
        }
    }
    if let Some(pattern) = field["pattern"].as_str() {
        words.push(format!("`{}`", pattern.replace('|', "\\|")));
    }
    if let Some(values) = field["enum"].as_array() {
        words.push(values.iter().map(text).collect::<Vec<_>>().join(", "));
    }
    if let Some(default) = field["default"].as_str() {
        words.push(format!("default {default}"));
    }
    if words.is_empty() { String::new() } else { format!(" ({})", words.join("; ")) }
}

/// The messages of the rules; of one that is an expression, its text.
fn rules(schema: &Value) -> Vec<String> {
    let message = |rule: &Value| match rule["message"].as_str() {
        Some(message) => message.to_owned(),
        None => {
            let expression = line(&rule["messageExpression"]);
            let text = expression.split("'.format(").next().unwrap_or_default();
            text.trim_start_matches('\'').replace("%d", "…").replace("%s", "…")
        }
    };
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.map(|rule| format!("rule: {}", message(rule))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn line(value: &Value) -> String {
    text(value).split_whitespace().collect::<Vec<_>>().join(" ")
}
