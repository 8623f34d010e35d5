//! Runs a script against a host and says of every case whether it passed.

use super::compare::{check_sorted, check_value, check_vector};
use super::host::{Answer, AnswerValue, HostError, LoadedSeries, Sample, TestHost};
use super::native::ClassicSeries;
use super::reach::{Incomplete, not_covered};
use super::script::{Command, EvalCase, EvalTime, LoadBlock, Script};
use super::series::Point;
use super::variant;
use crate::parse::ast::Expr;
use storage_engine::model::{SampleColumns, TimestampMs};

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseOutcome {
    /// All its evaluations gave what it says.
    Passed,
    /// Something else came out; the text says what.
    Failed(String),
    /// It needs what this engine does not have; the text says what.
    NotCovered(&'static str),
}

/// One case and how it went.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// Line of the `eval`.
    pub line: usize,
    /// The expression as written.
    pub expr: String,
    /// How it went.
    pub outcome: CaseOutcome,
}

/// All cases of a file in order.
#[derive(Debug, Clone, Default)]
pub struct FileReport {
    /// The cases.
    pub cases: Vec<CaseReport>,
}

impl FileReport {
    /// Number of passed cases.
    pub fn passed(&self) -> usize {
        let passed = |c: &&CaseReport| c.outcome == CaseOutcome::Passed;
        self.cases.iter().filter(passed).count()
    }

    /// Number of cases that were not covered.
    pub fn not_covered(&self) -> usize {
        let apart = |c: &&CaseReport| matches!(c.outcome, CaseOutcome::NotCovered(_));
        self.cases.iter().filter(apart).count()
    }

    /// The failed cases and why.
    pub fn failures(&self) -> impl Iterator<Item = (&CaseReport, &str)> {
        self.cases.iter().filter_map(|c| match &c.outcome {
            CaseOutcome::Failed(why) => Some((c, why.as_str())),
            _ => None,
        })
    }
}

/// The expression language inside the test language: parser (with all switches on) and printer.
#[derive(Debug, Clone, Copy)]
pub struct Grammar {
    /// Reads an expression; the error is the text that a user sees.
    pub parse: fn(&str) -> Result<Expr, String>,
    /// Writes it back.
    pub print: fn(&Expr) -> String,
}

/// Runs all commands.
///
/// # Errors
/// When the host cannot clear or append; a case that goes wrong is only reported.
pub fn run_script(
    script: &Script,
    host: &mut dyn TestHost,
    grammar: Grammar,
) -> Result<FileReport, HostError> {
    let mut report = FileReport::default();
    let mut incomplete = Incomplete::default();
    host.clear()?;
    for command in &script.commands {
        match command {
            Command::Clear => {
                incomplete.clear();
                host.clear()?;
            }
            Command::Load(block) => load(block, host, &mut incomplete)?,
            Command::Eval(case) => {
                let outcome = match (grammar.parse)(&case.expr) {
                    Err(e) => CaseOutcome::Failed(format!("does not parse: {e}")),
                    Ok(expr) => match not_covered(&expr, &incomplete, host.keeps_starts()) {
                        Some(reason) => CaseOutcome::NotCovered(reason),
                        None => match run_case(case, expr, host, grammar) {
                            Ok(()) => CaseOutcome::Passed,
                            Err(why) => CaseOutcome::Failed(why),
                        },
                    },
                };
                report.cases.push(CaseReport {
                    line: case.line,
                    expr: case.expr.clone(),
                    outcome,
                });
            }
        }
    }
    Ok(report)
}

fn load(
    block: &LoadBlock,
    host: &mut dyn TestHost,
    incomplete: &mut Incomplete,
) -> Result<(), HostError> {
    let mut all = Vec::with_capacity(block.series.len());
    let mut classic = ClassicSeries::default();
    for series in &block.series {
        if !series.start_times.is_empty() && !host.keeps_starts() {
            incomplete.add(series.labels.clone(), "reads start timestamps");
        }
        let mut floats = SampleColumns::default();
        let mut histograms = Vec::new();
        let mut starts: Vec<(TimestampMs, TimestampMs)> = Vec::new();
        for (i, point) in series.points.iter().enumerate() {
            let t = block.step * i as i64;
            match point {
                Point::Float(v) => floats.push(t, *v),
                Point::Histogram(literal) => histograms.push((t, literal.histogram.clone())),
                Point::Omitted => continue,
            }
            let distance = series.start_times.get(i).copied().flatten();
            let start = distance.map_or(0, |distance| t + distance);
            if starts.last().map_or(0, |(_, before)| *before) != start {
                starts.push((t, start));
            }
        }
        if block.with_nhcb {
            classic.add(&series.labels, &floats);
        }
        if !floats.is_empty() || !histograms.is_empty() {
            all.push(LoadedSeries {
                labels: series.labels.clone(),
                floats,
                histograms,
                starts,
            });
        }
    }
    for native in classic.build() {
        let (labels, histograms) = native.map_err(HostError)?;
        all.push(LoadedSeries {
            labels,
            floats: SampleColumns::default(),
            histograms,
            starts: Vec::new(),
        });
    }
    host.append(all)
}

fn run_case(
    case: &EvalCase,
    expr: Expr,
    host: &mut dyn TestHost,
    grammar: Grammar,
) -> Result<(), String> {
    match case.time {
        EvalTime::Range { start, end, step } => {
            let answer = host.range(&case.expr, start, end, step);
            check(case, &case.expr, answer).map(|_| ())
        }
        EvalTime::Instant(at) => {
            run_instant(case, &case.expr, at, host)?;
            let mut pinned = expr;
            if !variant::pin(&mut pinned, at) {
                return Ok(());
            }
            let text = (grammar.print)(&pinned);
            for time in variant::times(at) {
                run_instant(case, &text, time, host)
                    .map_err(|why| format!("as {text} at {time} ms: {why}"))?;
            }
            Ok(())
        }
    }
}

/// Checks everything about an answer; gives it back unless the case wanted, and got, a failure.
fn check(
    case: &EvalCase,
    text: &str,
    answer: Result<Answer, HostError>,
) -> Result<Option<Answer>, String> {
    let wants_failure = case.expectations.wants_failure();
    match answer {
        Err(HostError(error)) if wants_failure => {
            case.expectations.check_failure(&error).map(|()| None)
        }
        Err(HostError(error)) => Err(format!("error evaluating {text}: {error}")),
        Ok(_) if wants_failure => Err(format!("expected an error evaluating {text}, got none")),
        Ok(answer) => {
            case.expectations
                .check_annotations(&answer.warnings, &answer.infos)?;
            check_value(case, &answer.value)?;
            Ok(Some(answer))
        }
    }
}

/// Evaluates at one time, then as the middle of three steps a minute apart.
fn run_instant(
    case: &EvalCase,
    text: &str,
    time: TimestampMs,
    host: &mut dyn TestHost,
) -> Result<(), String> {
    let answer = host.instant(text, time);
    let Some(answer) = check(case, text, answer)? else {
        return Ok(());
    };
    let only_instant = case.window.is_some() || case.value.string.is_some();
    if only_instant || variant::depends_on_query(text) {
        return Ok(());
    }
    const MINUTE: i64 = 60_000;
    let range = host
        .range(text, time - MINUTE, time + MINUTE, MINUTE)
        .map_err(|e| format!("in range mode: {e}"))?;
    if case.expectations.ordered {
        return Ok(());
    }
    let AnswerValue::Matrix(matrix) = range.value else {
        return Err("in range mode: the answer is no matrix".to_owned());
    };
    check_sorted(&matrix)?;
    let mut middle = Vec::with_capacity(matrix.len());
    for (labels, samples) in matrix {
        if let Some((_, v)) = samples.into_iter().find(|(t, _)| *t == time) {
            middle.push((labels, v));
        }
    }
    let compared = match answer.value {
        AnswerValue::Scalar(_) => {
            let Some((_, Sample::Float(first))) = middle.first() else {
                return Err("in range mode: a scalar has no value".to_owned());
            };
            check_value(case, &AnswerValue::Scalar(*first))
        }
        _ => check_vector(case, &middle),
    };
    compared.map_err(|why| format!("in range mode: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::ast::{Span, StringLiteral};
    use storage_engine::model::Labels;

    /// Answers every query with the same number.
    struct Constant(f64);

    impl TestHost for Constant {
        fn clear(&mut self) -> Result<(), HostError> {
            Ok(())
        }
        fn append(&mut self, _: Vec<LoadedSeries>) -> Result<(), HostError> {
            Ok(())
        }
        fn instant(&mut self, query: &str, _: TimestampMs) -> Result<Answer, HostError> {
            if query == "fails" {
                return Err(HostError("no".to_owned()));
            }
            Ok(Answer {
                value: AnswerValue::Scalar(self.0),
                warnings: vec!["PromQL warning: w (1:1)".to_owned()],
                infos: Vec::new(),
            })
        }
        fn range(
            &mut self,
            query: &str,
            start: TimestampMs,
            _: TimestampMs,
            step: i64,
        ) -> Result<Answer, HostError> {
            let mut answer = self.instant(query, start)?;
            let samples = vec![(start + step, Sample::Float(self.0))];
            answer.value = AnswerValue::Matrix(vec![(Labels::empty(), samples)]);
            Ok(answer)
        }
    }

    fn outcomes(script: &str) -> Vec<bool> {
        let grammar = Grammar {
            parse: |text| {
                Ok(Expr::String(StringLiteral {
                    value: text.as_bytes().to_vec(),
                    span: Span::default(),
                }))
            },
            print: |expr| match expr {
                Expr::String(text) => String::from_utf8_lossy(&text.value).into_owned(),
                other => panic!("{other:?}"),
            },
        };
        let script = Script::parse(script).unwrap();
        let report = run_script(&script, &mut Constant(3.0), grammar).unwrap();
        let passed = |c: &CaseReport| c.outcome == CaseOutcome::Passed;
        report.cases.iter().map(passed).collect()
    }

    #[test]
    fn a_wrong_expectation_fails() {
        let cases =
            "eval instant at 1m x\n 3\n\neval instant at 1m x\n 4\n\neval instant at 1m x\n {} 3\n";
        assert_eq!(outcomes(cases), [true, false, false]);
    }

    #[test]
    fn annotations_and_failures_are_compared() {
        let eval = |expect: &str| format!("eval instant at 0 x\n  expect {expect}\n  3\n");
        let one = |script: &str| outcomes(script)[0];
        assert!(one(&eval("warn")));
        assert!(one(&eval("warn msg: PromQL warning: w (1:1)")));
        assert!(!one(&eval("warn msg: PromQL warning: w")));
        assert!(!one(&eval("warn regex: other")));
        assert!(!one(&eval("no_warn")));
        assert!(one(&eval("no_info")));
        assert!(!one(&eval("info")));
        assert!(!one(&eval("fail")));
        assert!(one("eval instant at 0 fails\n  expect fail msg: no\n"));
        assert!(!one("eval instant at 0 fails\n  expect fail msg: yes\n"));
        assert!(one(
            "eval_fail instant at 0 fails\n  expected_fail_message no\n"
        ));
        assert!(!one(
            "eval_fail instant at 0 fails\n  expected_fail_regexp y.s\n"
        ));
    }

    #[test]
    fn broken_scripts_name_the_line() {
        let line = |script: &str| Script::parse(script).unwrap_err().line;
        assert_eq!(line("clear\n\nnonsense\n"), 3);
        assert_eq!(line("load 5q\n  m 1\n"), 1);
        assert_eq!(line("load 5m\n  m 1\n  m 1+\n"), 3);
        assert_eq!(
            line("eval instant at 5m x\n  expect warn\n  expect no_warn\n"),
            3
        );
        assert_eq!(line("eval range from 5m to 1m step 1m x\n"), 1);
        assert_eq!(line("eval instant at 5m x\n  m 1 2\n"), 2);
    }
}
