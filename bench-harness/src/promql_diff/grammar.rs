//! Queries at random, from a seed, along PromQL's grammar and over the metrics of `special_data`.
//!
//! Promise: every function, aggregation, binary operator and modifier that both servers know comes up; most queries select something and most
//! joins can match. Not here: what the servers know (`known_functions` of `mod`), sending.

use super::tree::{Kind, Node, Part};
use super::vocabulary::{
    AGGREGATIONS, ARITHMETIC, COMPARISONS, COUNTER_RANGES, COUNTERS, ELEMENTWISE, GAUGES, LABELS,
    MATCHERS, NATIVE, NUMBERS, OF_HISTOGRAMS, OFFSETS, OVER_TIME, QUANTILES, RANGES, RARE_MATCHERS,
    RESOLUTIONS, SETS, TIMES,
};
use loadgen::series::mix;

/// What a metric of the data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Counter,
    Gauge,
    Classic,
    Native,
    Any,
}

/// Where queries come from.
pub(super) struct Generator {
    seed: u64,
    drawn: u64,
    /// Functions that are not to be called.
    unknown: Vec<&'static str>,
    /// The metric of both sides of a join, so that they can match.
    joined: Option<&'static str>,
    /// Seconds, for the at modifier.
    start: i64,
    end: i64,
}

impl Generator {
    /// Queries over data from `start` to `end` (seconds), without the functions `unknown`.
    pub(super) fn new(seed: u64, unknown: Vec<&'static str>, start: i64, end: i64) -> Generator {
        Generator {
            seed,
            drawn: 0,
            unknown,
            joined: None,
            start,
            end,
        }
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.drawn += 1;
        (mix(self.seed ^ mix(self.drawn)) % n.max(1) as u64) as usize
    }

    fn pick(&mut self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A function of the list that both servers know.
    fn function(&mut self, list: &[&'static str]) -> &'static str {
        loop {
            let name = self.pick(list);
            if !self.unknown.contains(&name) {
                return name;
            }
        }
    }

    /// A whole query; range vectors only where they may stand.
    pub(super) fn query(&mut self, instant: bool) -> Node {
        let depth = 1 + self.below(4);
        match self.below(100) {
            0..=2 if instant => self.range(1, Family::Any),
            0..=5 => self.scalar(depth),
            6 => Node::new(Kind::Text, ["\"some \\\"text\\\"\"".into()]),
            7..=9 => self.vector(0, Family::Any),
            _ => self.vector(depth, Family::Any),
        }
    }

    fn family(&mut self) -> Family {
        match self.below(10) {
            0..=2 => Family::Counter,
            3..=5 => Family::Gauge,
            6 => Family::Classic,
            7 | 8 => Family::Native,
            _ => Family::Any,
        }
    }

    fn metric(&mut self, family: Family) -> &'static str {
        if let Some(metric) = self.joined
            && self.chance(85)
        {
            return metric;
        }
        match family {
            Family::Counter => self.pick(COUNTERS),
            Family::Gauge => self.pick(GAUGES),
            Family::Classic => "special_seconds_bucket",
            Family::Native => self.pick(NATIVE),
            Family::Any => match self.below(12) {
                0 => "special_mixed",
                1 => "special_build_info",
                2 => "special_nothing",
                3 => "{__name__=~\"special_(up|temperature)\"}",
                4 => "{__name__=~\"special_latency.*\"}",
                _ => {
                    let family = self.family();
                    match family {
                        Family::Any => "special_mixed",
                        _ => self.metric(family),
                    }
                }
            },
        }
    }

    /// A selector without modifiers.
    fn bare_selector(&mut self, family: Family) -> Node {
        let metric = self.metric(family);
        let matchers = match self.below(100) {
            0..=59 => String::new(),
            60..=89 => self.pick(MATCHERS).to_owned(),
            90..=95 => self.pick(RARE_MATCHERS).to_owned(),
            _ => format!("{}, {}", self.pick(MATCHERS), self.pick(RARE_MATCHERS)),
        };
        let parts: [Part; 2] = match metric.strip_suffix('}') {
            Some(open) if !matchers.is_empty() => [open.into(), format!(", {matchers}}}").into()],
            _ if matchers.is_empty() => [metric.into(), "".into()],
            _ => [metric.into(), Part::Optional(format!("{{{matchers}}}"))],
        };
        Node::new(Kind::Vector, parts)
    }

    fn modifiers(&mut self) -> [Part; 2] {
        let offset = match self.chance(12) {
            true => format!(" offset {}", self.pick(OFFSETS)),
            false => String::new(),
        };
        let at = match self.below(100) {
            0..=3 => " @ start()".to_owned(),
            4..=7 => " @ end()".to_owned(),
            8..=11 => {
                let time = self.start + self.below((self.end - self.start) as usize) as i64;
                format!(" @ {time}")
            }
            _ => String::new(),
        };
        [Part::Optional(offset), Part::Optional(at)]
    }

    fn selector(&mut self, family: Family) -> Node {
        let bare = self.bare_selector(family);
        let [offset, at] = self.modifiers();
        Node::new(Kind::Vector, [bare.into(), offset, at])
    }

    fn range(&mut self, depth: usize, family: Family) -> Node {
        let [offset, at] = self.modifiers();
        let length = self.pick(RANGES);
        if depth > 0 && self.chance(20) {
            let inner = match self.chance(90) {
                true => self.vector(depth - 1, family),
                false => self.scalar(depth - 1),
            };
            let inner = Node::new(inner.kind, ["(".into(), inner.into(), ")".into()]);
            let resolution = self.pick(RESOLUTIONS);
            let brackets = format!("[{length}:{resolution}]");
            return Node::new(Kind::Range, [inner.into(), brackets.into(), offset, at]);
        }
        let bare = self.bare_selector(family);
        let brackets = format!("[{length}]");
        Node::new(Kind::Range, [bare.into(), brackets.into(), offset, at])
    }

    fn scalar(&mut self, depth: usize) -> Node {
        let new = |parts: [Part; 3]| Node::new(Kind::Scalar, parts);
        if depth == 0 || self.chance(50) {
            let number = match self.below(10) {
                0 => "time()",
                1 => "pi()",
                _ => self.pick(NUMBERS),
            };
            return Node::new(Kind::Scalar, [number.into()]);
        }
        match self.below(4) {
            0 | 1 => {
                let vector = self.vector(depth - 1, Family::Any);
                new(["scalar(".into(), vector.into(), ")".into()])
            }
            2 => {
                let (a, b) = (self.scalar(depth - 1), self.scalar(depth - 1));
                let operator = match self.chance(70) {
                    true => format!(" {} ", self.pick(ARITHMETIC)),
                    false => format!(" {} bool ", self.pick(COMPARISONS)),
                };
                Node::new(
                    Kind::Scalar,
                    ["(".into(), a.into(), operator.into(), b.into(), ")".into()],
                )
            }
            _ => {
                let inner = self.scalar(depth - 1);
                new(["-(".into(), inner.into(), ")".into()])
            }
        }
    }

    fn call<const N: usize>(&mut self, name: &str, parts: [Part; N]) -> Node {
        let [head, tail]: [Part; 2] = [format!("{name}(").into(), ")".into()];
        let inside = Node::new(Kind::Text, parts);
        // Arguments are no part that could stand alone: their own parts are.
        Node::new(Kind::Vector, [head, inside.into(), tail])
    }

    fn vector(&mut self, depth: usize, family: Family) -> Node {
        if depth == 0 {
            return self.selector(family);
        }
        let d = depth - 1;
        match self.below(100) {
            0..=5 => self.selector(family),
            6..=15 => self.elementwise(d, family),
            16..=33 => self.over_time(d, family),
            34..=55 => self.aggregation(d, family),
            56..=69 => self.binary(d, family),
            70..=74 => self.set_operation(d, family),
            75..=80 => self.with_scalar(d, family),
            81..=88 => self.of_histograms(d),
            89..=92 => self.of_labels(d, family),
            93..=95 => self.odd_call(d, family),
            96..=97 => {
                let inner = self.vector(d, family);
                let sign = self.pick(&["-", "+", "-"]);
                Node::new(
                    Kind::Vector,
                    [sign.into(), "(".into(), inner.into(), ")".into()],
                )
            }
            _ => {
                let inner = self.scalar(d);
                self.call("vector", [inner.into()])
            }
        }
    }

    fn elementwise(&mut self, d: usize, family: Family) -> Node {
        let inner = self.vector(d, family);
        match self.below(10) {
            0 => {
                let name = self.function(TIMES);
                self.call(name, [inner.into()])
            }
            1 => match self.chance(50) {
                true => self.call("round", [inner.into()]),
                false => {
                    let to = self.scalar(0);
                    self.call("round", [inner.into(), ", ".into(), to.into()])
                }
            },
            2 => {
                let name = self.pick(&["clamp_min", "clamp_max"]);
                let limit = self.scalar(d.min(1));
                self.call(name, [inner.into(), ", ".into(), limit.into()])
            }
            3 => {
                let (low, high) = (self.scalar(d.min(1)), self.scalar(d.min(1)));
                let parts = [
                    inner.into(),
                    ", ".into(),
                    low.into(),
                    ", ".into(),
                    high.into(),
                ];
                self.call("clamp", parts)
            }
            4 => self.call("timestamp", [inner.into()]),
            _ => {
                let name = self.function(ELEMENTWISE);
                self.call(name, [inner.into()])
            }
        }
    }

    fn over_time(&mut self, d: usize, family: Family) -> Node {
        let family = match family {
            Family::Any => self.family(),
            other => other,
        };
        let range = self.range(d, family);
        match self.below(12) {
            0 => {
                let q = self.pick(QUANTILES);
                let parts = [format!("{q}, ").into(), range.into()];
                self.call("quantile_over_time", parts)
            }
            1 => {
                let by = self.pick(&["60", "3600", "-120", "0"]);
                self.call("predict_linear", [range.into(), format!(", {by}").into()])
            }
            2 => {
                let factors = self.pick(&["0.5, 0.5", "0.1, 0.9", "0.99, 0.01"]);
                let name = "double_exponential_smoothing";
                self.call(name, [range.into(), format!(", {factors}").into()])
            }
            3..=7 if !matches!(family, Family::Gauge) => {
                let name = self.function(COUNTER_RANGES);
                self.call(name, [range.into()])
            }
            _ => {
                let name = self.function(OVER_TIME);
                self.call(name, [range.into()])
            }
        }
    }

    fn grouping(&mut self) -> String {
        match self.below(100) {
            0..=24 => String::new(),
            25..=79 => format!(" by ({})", self.pick(LABELS)),
            _ => format!(" without ({})", self.pick(LABELS)),
        }
    }

    fn aggregation(&mut self, d: usize, family: Family) -> Node {
        let inner = self.vector(d, family);
        let grouping = self.grouping();
        let (name, parameter) = match self.below(20) {
            0..=2 => {
                let name = self.pick(&["topk", "bottomk"]);
                let k = self.pick(&[
                    "1",
                    "2",
                    "3",
                    "5",
                    "100",
                    "0",
                    "-1",
                    "2.7",
                    "scalar(special_limit{job=\"a\"})",
                ]);
                (name, format!("{k}, "))
            }
            3 | 4 => ("quantile", format!("{}, ", self.pick(QUANTILES))),
            5 => ("count_values", "\"value\", ".to_owned()),
            6 => {
                let k = self.pick(&["1", "2", "5", "0", "100"]);
                ("limitk", format!("{k}, "))
            }
            7 => {
                let share = self.pick(&["0.5", "0.1", "-0.3", "1", "0", "-1", "0.9"]);
                ("limit_ratio", format!("{share}, "))
            }
            _ => (self.pick(AGGREGATIONS), String::new()),
        };
        let behind = self.chance(30);
        let open = format!("({parameter}");
        let (before, after) = match behind {
            true => (String::new(), grouping),
            false => (grouping, String::new()),
        };
        Node::new(
            Kind::Vector,
            [
                name.into(),
                Part::Optional(before),
                open.into(),
                inner.into(),
                ")".into(),
                Part::Optional(after),
            ],
        )
    }

    /// An operator that is not of sets, and its `bool`.
    fn operator(&mut self) -> (String, Part) {
        if self.chance(65) {
            let operator = self.pick(ARITHMETIC);
            return (format!(" {operator}"), "".into());
        }
        let operator = self.pick(COMPARISONS);
        let with_bool = self.chance(35);
        let word = if with_bool { " bool" } else { "" };
        (format!(" {operator}"), Part::Optional(word.to_owned()))
    }

    fn binary(&mut self, d: usize, family: Family) -> Node {
        let (operator, is_bool) = self.operator();
        let (left, matching, right) = match self.below(10) {
            // Two expressions over one family, matched by all their labels.
            0..=3 => {
                let family = match family {
                    Family::Any => self.family(),
                    other => other,
                };
                let before = self.joined;
                self.joined = before.or_else(|| Some(self.metric(family)));
                let sides = (
                    self.vector(d, family),
                    String::new(),
                    self.vector(d, family),
                );
                self.joined = before;
                sides
            }
            4 | 5 => {
                let word = self.pick(&["on", "ignoring"]);
                let labels = self.pick(LABELS);
                let matching = format!(" {word}({labels})");
                (self.vector(d, family), matching, self.vector(d, family))
            }
            // Many to one: limits by job, build information by job and instance.
            6 => {
                let extra = self.pick(&["", "Zone", "missing", "instance"]);
                let one = self.selector_of("special_limit");
                (
                    self.vector(d, family),
                    format!(" on(job) group_left({extra})"),
                    one,
                )
            }
            7 => {
                let extra = self.pick(&["version", "version, region", "", "job"]);
                let one = self.selector_of("special_build_info");
                let matching = format!(" on(job, instance) group_left({extra})");
                (self.vector(d, family), matching, one)
            }
            8 => {
                let extra = self.pick(&["", "Zone"]);
                let one = self.selector_of("special_limit");
                (
                    one,
                    format!(" on(job) group_right({extra})"),
                    self.vector(d, family),
                )
            }
            _ => {
                let labels = self.pick(&["job", "instance", "job, instance"]);
                let side = |g: &mut Generator| {
                    let op = g.pick(AGGREGATIONS);
                    let inner = g.vector(d.saturating_sub(1), family);
                    let open = format!("{op} by ({labels})(");
                    Node::new(Kind::Vector, [open.into(), inner.into(), ")".into()])
                };
                (side(self), String::new(), side(self))
            }
        };
        let parts = [
            "(".into(),
            left.into(),
            operator.into(),
            is_bool,
            Part::Optional(matching),
            " ".into(),
            right.into(),
            ")".into(),
        ];
        Node::new(Kind::Vector, parts)
    }

    fn selector_of(&mut self, metric: &'static str) -> Node {
        Node::new(Kind::Vector, [metric.into()])
    }

    fn set_operation(&mut self, d: usize, family: Family) -> Node {
        let operator = self.pick(SETS);
        let matching = match self.below(4) {
            0 => format!(" on({})", self.pick(LABELS)),
            1 => format!(" ignoring({})", self.pick(LABELS)),
            _ => String::new(),
        };
        let before = self.joined;
        if self.chance(50) {
            self.joined = before.or_else(|| Some(self.metric(family)));
        }
        let (left, right) = (self.vector(d, family), self.vector(d, Family::Any));
        self.joined = before;
        Node::new(
            Kind::Vector,
            [
                "(".into(),
                left.into(),
                format!(" {operator}").into(),
                Part::Optional(matching),
                " ".into(),
                right.into(),
                ")".into(),
            ],
        )
    }

    fn with_scalar(&mut self, d: usize, family: Family) -> Node {
        let (operator, is_bool) = self.operator();
        let (vector, scalar) = (self.vector(d, family), self.scalar(d));
        let scalar = Node::new(Kind::Scalar, ["(".into(), scalar.into(), ")".into()]);
        let (left, right) = match self.chance(65) {
            true => (vector, scalar),
            false => (scalar, vector),
        };
        let parts = [
            "(".into(),
            left.into(),
            operator.into(),
            is_bool,
            " ".into(),
            right.into(),
            ")".into(),
        ];
        Node::new(Kind::Vector, parts)
    }

    /// Functions of histograms, native and classic.
    fn of_histograms(&mut self, d: usize) -> Node {
        let inner = match self.below(10) {
            0..=2 => {
                let range = self.range(0, Family::Classic);
                let rate = self.call("rate", [range.into()]);
                if self.chance(50) {
                    let by = self.pick(&["le", "le, job", "job"]);
                    let open = format!("sum by ({by})(");
                    Node::new(Kind::Vector, [open.into(), rate.into(), ")".into()])
                } else {
                    rate
                }
            }
            3..=5 => {
                let range = self.range(0, Family::Native);
                let name = self.pick(&[
                    "rate",
                    "increase",
                    "sum_over_time",
                    "delta",
                    "avg_over_time",
                ]);
                self.call(name, [range.into()])
            }
            6 => self.selector(Family::Classic),
            _ => self.vector(d, Family::Native),
        };
        match self.below(10) {
            0..=3 => {
                let q = self.pick(QUANTILES);
                self.call(
                    "histogram_quantile",
                    [format!("{q}, ").into(), inner.into()],
                )
            }
            4 | 5 => {
                let between = self.pick(&[
                    "0, 1, ",
                    "-1, 0.5, ",
                    "0.1, +Inf, ",
                    "-Inf, 2, ",
                    "1, 0, ",
                    "NaN, 1, ",
                ]);
                self.call("histogram_fraction", [between.into(), inner.into()])
            }
            _ => {
                let name = self.function(OF_HISTOGRAMS);
                self.call(name, [inner.into()])
            }
        }
    }

    fn of_labels(&mut self, d: usize, family: Family) -> Node {
        let inner = self.vector(d, family);
        if self.chance(70) {
            let rest = self.pick(&[
                "\"x\", \"$1-y\", \"instance\", \"(.*):.*\"",
                "\"job\", \"z\", \"job\", \"a\"",
                "\"instance\", \"\", \"instance\", \".*\"",
                "\"__name__\", \"named_$1\", \"job\", \"(.)\"",
                "\"x\", \"$1\", \"missing\", \"(.*)\"",
                "\"job\", \"same\", \"\", \"\"",
                "\"x\", \"${1}_${2}\", \"instance\", \"(o|t)(.+):80\"",
                "\"x\", \"y\", \"job\", \"(\"",
            ]);
            self.call("label_replace", [inner.into(), format!(", {rest}").into()])
        } else {
            let rest = self.pick(&[
                "\"x\", \"-\", \"job\", \"instance\"",
                "\"job\", \"\", \"missing\"",
                "\"x\", \"/\"",
                "\"__name__\", \"_\", \"job\", \"job\"",
            ]);
            self.call("label_join", [inner.into(), format!(", {rest}").into()])
        }
    }

    fn odd_call(&mut self, d: usize, family: Family) -> Node {
        let name = self.function(&[
            "absent",
            "absent",
            "sort",
            "sort_desc",
            "sort_by_label",
            "sort_by_label_desc",
            "info",
            "timestamp",
        ]);
        let inner = match self.chance(50) {
            true => self.selector(family),
            false => self.vector(d, family),
        };
        let rest = match name {
            "sort_by_label" | "sort_by_label_desc" => {
                self.pick(&[", \"instance\"", ", \"job\", \"le\"", ", \"kind\""])
            }
            "info" => self.pick(&["", ", {region=~\".+\"}", ", {missing=\"\"}"]),
            _ => "",
        };
        self.call(name, [inner.into(), rest.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::functions;
    use super::*;

    #[test]
    fn a_seed_gives_its_queries_again_and_all_functions_come_up() {
        let queries = |seed| {
            let mut generator = Generator::new(seed, Vec::new(), 1_000_000, 1_010_800);
            (0..5000)
                .map(|n| generator.query(n % 2 == 0).to_string())
                .collect::<Vec<_>>()
        };
        let first = queries(1);
        assert_eq!(first, queries(1));
        assert_ne!(first, queries(2));
        for function in functions() {
            let call = format!("{function}(");
            assert!(first.iter().any(|q| q.contains(&call)), "{function}");
        }
        let operators = [ARITHMETIC, COMPARISONS, SETS].concat();
        for word in operators.into_iter().chain([
            "bool",
            "on",
            "ignoring",
            "group_left",
            "group_right",
            "offset",
            "@",
        ]) {
            assert!(
                first.iter().any(|q| q.contains(&format!(" {word}"))),
                "{word}"
            );
        }
    }

    #[test]
    fn functions_that_are_not_known_do_not_come_up() {
        let mut generator = Generator::new(3, vec!["rate", "sort"], 1_000_000, 1_010_800);
        for n in 0..300 {
            let query = generator.query(n % 2 == 0).to_string();
            assert!(!query.contains("sort("), "{query}");
        }
    }
}
