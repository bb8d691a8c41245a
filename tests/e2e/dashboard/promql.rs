//! PromQL, held against what is really exposed: a query that a Prometheus server would answer with nothing, or with nonsense, is found.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{MatchOp, Matchers};
use promql_parser::parser::{self, Expr, LabelModifier, VectorMatchCardinality, VectorSelector};

/// What the server itself puts on each series that it scrapes: the job and the target, and the namespace that it found the target in.
const ADDED: [(&str, &str); 3] =
    [("job", "crs-operator-metrics"), ("instance", "10.0.0.7:8080"), ("namespace", "crs-system")];

/// What a process exposes in OpenMetrics text.
pub struct Exposition(Vec<Series>);

struct Series {
    /// As the TYPE line has it, without the suffixes of samples.
    family: String,
    name: String,
    labels: BTreeMap<String, String>,
    kind: Kind,
}

/// What the values of a vector are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Counts that only rise, since the process has started.
    Counter,
    /// The same, of a histogram's buckets.
    Bucket,
    /// How fast those of a histogram's buckets rise.
    BucketRate,
    /// Values that say something as they are.
    Plain,
}

#[derive(Clone)]
enum Shape {
    Number,
    Vector(Vector),
}

#[derive(Clone)]
struct Vector {
    kind: Kind,
    /// The names of those labels that each series has.
    labels: BTreeSet<String>,
}

impl Exposition {
    /// # Panics
    /// On a text that is none.
    pub fn new(text: &str) -> Self {
        let (mut series, mut family) = (Vec::new(), ("", ""));
        for line in text.lines() {
            match line.strip_prefix("# ").map(|comment| comment.split_once(' ').unwrap_or((comment, ""))) {
                Some(("TYPE", declared)) => family = declared.split_once(' ').expect("a name and a type"),
                Some(_) => {}
                None => series.push(Series::new(line, family)),
            }
        }
        assert!(!series.is_empty() && text.ends_with("# EOF\n"), "cut off: {text}");
        Self(series)
    }

    pub fn families(&self) -> BTreeSet<&str> {
        self.0.iter().map(|series| series.family.as_str()).collect()
    }

    /// The names of the labels that each series of the query's answer has. Adds the families that it asks for to `used`.
    ///
    /// # Errors
    /// Says what is wrong with the query.
    pub fn check(&self, query: &str, used: &mut BTreeSet<String>) -> Result<BTreeSet<String>, String> {
        match self.shape(&parser::parse(query)?, used)? {
            Shape::Number => Ok(BTreeSet::new()),
            Shape::Vector(Vector { kind: Kind::Plain, labels }) => Ok(labels),
            Shape::Vector(Vector { kind, .. }) => Err(format!("it shows a {kind:?} as it is")),
        }
    }

    fn shape(&self, expr: &Expr, used: &mut BTreeSet<String>) -> Result<Shape, String> {
        match expr {
            Expr::NumberLiteral(_) => Ok(Shape::Number),
            Expr::Paren(paren) => self.shape(&paren.expr, used),
            Expr::VectorSelector(selector) => self.select(selector, used).map(Shape::Vector),
            Expr::MatrixSelector(selector) => self.select(&selector.vs, used).map(Shape::Vector),
            Expr::Aggregate(aggregate) if aggregate.param.is_none() => {
                let Shape::Vector(vector) = self.shape(&aggregate.expr, used)? else {
                    return Err("a sum of one".into());
                };
                let op = aggregate.op.to_string();
                match vector.kind {
                    Kind::Plain => {}
                    Kind::BucketRate if op == "sum" => {}
                    kind => return Err(format!("{op} of a {kind:?}")),
                }
                let labels = match &aggregate.modifier {
                    Some(LabelModifier::Include(by)) => vector.named(&by.labels)?,
                    Some(LabelModifier::Exclude(without)) => &vector.labels - &vector.named(&without.labels)?,
                    None => BTreeSet::new(),
                };
                Ok(Shape::Vector(Vector { labels, ..vector }))
            }
            Expr::Call(call) => {
                let [arguments @ .., last] = &call.args.args[..] else {
                    return if call.func.name == "time" { Ok(Shape::Number) } else { Err(unknown(expr)) };
                };
                let Shape::Vector(mut vector) = self.shape(last, used)? else { return Err(unknown(expr)) };
                vector.kind = match (call.func.name, vector.kind) {
                    ("rate" | "increase", Kind::Counter) => Kind::Plain,
                    ("rate" | "increase", Kind::Bucket) => Kind::BucketRate,
                    ("changes", Kind::Plain) => Kind::Plain,
                    ("histogram_quantile", Kind::BucketRate) if vector.labels.remove("le") => Kind::Plain,
                    ("histogram_quantile", Kind::BucketRate) => return Err("the label le is summed away".into()),
                    (name @ ("rate" | "increase" | "changes" | "histogram_quantile"), kind) => {
                        return Err(format!("{name} of a {kind:?}"));
                    }
                    _ => return Err(unknown(expr)),
                };
                let numbers = arguments.iter().all(|argument| matches!(**argument, Expr::NumberLiteral(_)));
                if numbers { Ok(Shape::Vector(vector)) } else { Err(unknown(expr)) }
            }
            Expr::Binary(binary) => {
                let (left, right) = match (self.shape(&binary.lhs, used)?, self.shape(&binary.rhs, used)?) {
                    (Shape::Vector(left), Shape::Vector(right)) => (left, right),
                    (Shape::Number, other) | (other, Shape::Number) => return Ok(other),
                };
                if (left.kind, right.kind) != (Kind::Plain, Kind::Plain) {
                    return Err(format!("{} between a {:?} and a {:?}", binary.op, left.kind, right.kind));
                }
                let modifier = binary.modifier.clone().unwrap_or_default();
                let one_to_one =
                    matches!(modifier.card, VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany);
                if !one_to_one || binary.op.to_string() == "or" {
                    return Err(unknown(expr));
                }
                let [met, other] = [&left, &right].map(|side| match &modifier.matching {
                    Some(LabelModifier::Include(on)) => side.named(&on.labels),
                    Some(LabelModifier::Exclude(ignoring)) => Ok(&side.labels - &side.named(&ignoring.labels)?),
                    None => Ok(side.labels.clone()),
                });
                let (met, other) = (met?, other?);
                if met != other {
                    return Err(format!("those with {met:?} never meet those with {other:?}"));
                }
                let labels = if binary.op.is_set_operator() { left.labels } else { met };
                Ok(Shape::Vector(Vector { labels, ..left }))
            }
            _ => Err(unknown(expr)),
        }
    }

    fn select(&self, selector: &VectorSelector, used: &mut BTreeSet<String>) -> Result<Vector, String> {
        let name = selector.name.as_deref().ok_or("a selector without a metric's name")?;
        let Matchers { matchers, or_matchers } = &selector.matchers;
        if !or_matchers.is_empty() {
            return Err(format!("an `or` in {selector}"));
        }
        let named: Vec<_> = self.0.iter().filter(|series| series.name == name).collect();
        let first = named.first().ok_or_else(|| format!("no metric {name}"))?;
        let labels = named.iter().map(|series| series.labels.keys().cloned().collect::<BTreeSet<_>>());
        let vector = Vector { kind: first.kind, labels: labels.reduce(|all, more| &all & &more).unwrap_or_default() };
        vector.named(matchers.iter().map(|matcher| &matcher.name))?;
        let matched = |series: &&Series| matchers.iter().all(|matcher| matcher.is_match(&series.labels[&matcher.name]));
        if !named.iter().any(matched) {
            return Err(format!("nothing matches {selector}"));
        }
        used.insert(first.family.clone());
        Ok(vector)
    }
}

impl Series {
    fn new(line: &str, (family, declared): (&str, &str)) -> Self {
        let (head, value) = line.rsplit_once(' ').expect("a series and its value");
        assert!(value.parse::<f64>().is_ok(), "no number: {line}");
        // A series is written as PromQL selects it.
        let Ok(Expr::VectorSelector(VectorSelector { name: Some(name), matchers, .. })) = parser::parse(head) else {
            panic!("no series: {line}")
        };
        let kind = match (declared, name.strip_prefix(family).expect("the TYPE line goes before")) {
            ("counter", "_total") | ("histogram", "_sum" | "_count") => Kind::Counter,
            ("histogram", "_bucket") => Kind::Bucket,
            ("gauge", "") | ("info", "_info") => Kind::Plain,
            (_, suffix) => panic!("a {declared} with {suffix}: {line}"),
        };
        let labels = matchers.matchers.into_iter().map(|matcher| {
            assert_eq!(matcher.op, MatchOp::Equal, "{line}");
            (matcher.name, matcher.value)
        });
        let added = ADDED.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { family: family.to_owned(), name, labels: labels.chain(added).collect(), kind }
    }
}

impl Vector {
    /// These labels, which all its series must have.
    fn named<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<BTreeSet<String>, String> {
        let there = |name: &&String| {
            let found = self.labels.contains(*name);
            if found { Ok((*name).clone()) } else { Err(format!("no label {name}, but {:?}", self.labels)) }
        };
        names.into_iter().map(|name| there(&name)).collect()
    }
}

fn unknown(expr: &Expr) -> String {
    format!("this test doesn't know what comes of {expr}")
}

mod tests {
    use rstest::rstest;

    use super::*;

    const TEXT: &str = r#"# HELP calls Calls.
# TYPE calls counter
calls_total{action="look",code="0"} 7
calls_total{action="order",code="11057"} 1
# HELP took_seconds Time.
# TYPE took_seconds histogram
# UNIT took_seconds seconds
took_seconds_sum{action="look"} 0.5
took_seconds_count{action="look"} 7
took_seconds_bucket{le="0.1",action="look"} 6
took_seconds_bucket{le="+Inf",action="look"} 7
# TYPE leader gauge
leader 1
# TYPE build info
build_info{version="0.1.0"} 1
# EOF
"#;

    fn check(query: &str) -> Result<Vec<String>, String> {
        Exposition::new(TEXT).check(query, &mut BTreeSet::new()).map(Vec::from_iter)
    }

    #[rstest]
    #[case::no_such_metric("cals_total", "no metric cals_total")]
    #[case::the_family_is_no_series("rate(calls[5m])", "no metric calls")]
    #[case::no_such_label(r#"rate(calls_total{result="0"}[5m])"#, "no label result")]
    #[case::no_such_label_that_would_match_all(r#"rate(calls_total{result!="0"}[5m])"#, "no label result")]
    #[case::no_such_value(r#"rate(calls_total{code="4400"}[5m])"#, "nothing matches")]
    #[case::an_expression_matches_whole_values(r#"rate(calls_total{action=~"or"}[5m])"#, "nothing matches")]
    #[case::no_series_has_both(r#"rate(calls_total{action="order",code="0"}[5m])"#, "nothing matches")]
    #[case::summed_by_no_label("sum by (result) (rate(calls_total[5m]))", "no label result")]
    #[case::summed_away("sum by (code) (sum by (action) (rate(calls_total[5m])))", "no label code")]
    #[case::without_no_label("sum without (result) (rate(calls_total[5m]))", "no label result")]
    #[case::on_no_label("leader and on (result) leader", "no label result")]
    #[case::on_a_label_of_one_side("leader and on (version) build_info", "no label version")]
    #[case::sides_that_never_meet("leader * build_info", "never meet")]
    #[case::rate_of_a_gauge("rate(leader[5m])", "rate of a Plain")]
    #[case::increase_of_a_gauge("increase(leader[5m])", "increase of a Plain")]
    #[case::a_counter_as_it_is("calls_total", "shows a Counter")]
    #[case::a_sum_before_the_rate("sum(calls_total)", "sum of a Counter")]
    #[case::a_quantile_of_a_count("histogram_quantile(0.9, rate(took_seconds_count[5m]))", "quantile of a Plain")]
    #[case::a_quantile_without_a_rate("histogram_quantile(0.9, took_seconds_bucket)", "quantile of a Bucket")]
    #[case::a_quantile_without_le(
        "histogram_quantile(0.9, sum by (action) (rate(took_seconds_bucket[5m])))",
        "le is summed away"
    )]
    #[case::buckets_as_they_are("sum by (le) (rate(took_seconds_bucket[5m]))", "shows a BucketRate")]
    #[case::a_function_that_is_not_known("deriv(leader[5m])", "doesn't know")]
    #[case::no_promql("sum(", "")]
    fn a_query_that_tells_nothing_is_found(#[case] query: &str, #[case] why: &str) {
        let said = check(query).expect_err("a bad query");
        assert!(said.contains(why), "{said}");
    }

    #[rstest]
    #[case("sum by (action) (rate(calls_total[5m]))", &["action"])]
    #[case(r#"sum(increase(calls_total{code!="0"}[24h])) / sum(increase(calls_total[24h]))"#, &[])]
    #[case("histogram_quantile(0.99, sum by (le, action) (rate(took_seconds_bucket[5m])))", &["action"])]
    #[case("time() - leader", &["instance", "job", "namespace"])]
    #[case(r#"leader and on (job, instance) build_info{namespace=~"crs-.*"}"#, &["instance", "job", "namespace"])]
    #[case("count by (version) (build_info)", &["version"])]
    fn what_is_right_has_these_labels(#[case] query: &str, #[case] labels: &[&str]) {
        assert_eq!(check(query).expect("a good query"), labels);
    }
}
