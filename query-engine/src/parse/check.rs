//! Types: what may stand inside what, in Prometheus's words and in its order.
//!
//! Also settles what only types can tell: matching exists only between vectors, set operators match many to many, and the second argument of
//! `info()` may select everything.

use super::ast::*;
use super::error::ParseError;
use crate::eval::text::go_quote;
use storage_engine::model::METRIC_NAME;

/// Checks a whole tree; `input` is the query text, for positions.
pub(super) fn check(expr: &mut Expr, input: &[u8]) -> Result<(), ParseError> {
    Checker { input }.visit(expr).map(|_| ())
}

struct Checker<'a> {
    input: &'a [u8],
}

/// How the documentation calls a type.
fn documented(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Scalar => "scalar",
        ValueType::Vector => "instant vector",
        ValueType::Matrix => "range vector",
        ValueType::String => "string",
    }
}

fn is_number_like(value_type: ValueType) -> bool {
    matches!(value_type, ValueType::Scalar | ValueType::Vector)
}

impl Checker<'_> {
    fn error(&self, at: Span, text: impl Into<String>) -> ParseError {
        ParseError::new(self.input, at.start as usize, text)
    }

    fn visit(&self, expr: &mut Expr) -> Result<ValueType, ParseError> {
        match expr {
            Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => {}
            Expr::Paren(e) => {
                self.visit(&mut e.expr)?;
            }
            Expr::Unary(e) => {
                let inside = self.visit(&mut e.expr)?;
                if !is_number_like(inside) {
                    let text = format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {}",
                        go_quote(documented(inside).as_bytes())
                    );
                    return Err(self.error(e.span, text));
                }
            }
            Expr::Binary(e) => self.binary(e)?,
            Expr::Aggregate(e) => self.aggregate(e)?,
            Expr::Call(e) => self.call(e)?,
            Expr::Vector(e) => self.selector(e)?,
            Expr::Matrix(e) => self.selector(&e.selector)?,
            Expr::Subquery(e) => {
                let inside = self.visit(&mut e.expr)?;
                if inside != ValueType::Vector {
                    let text = format!(
                        "subquery is only allowed on instant vector, got {} instead",
                        inside.as_str()
                    );
                    return Err(self.error(e.span, text));
                }
            }
        }
        Ok(expr.value_type())
    }

    fn expect(&self, expr: &mut Expr, want: ValueType, context: &str) -> Result<(), ParseError> {
        let got = self.visit(expr)?;
        if got == want {
            return Ok(());
        }
        let text = format!(
            "expected type {} in {context}, got {}",
            documented(want),
            documented(got)
        );
        Err(self.error(expr.span(), text))
    }

    fn aggregate(&self, e: &mut AggregateExpr) -> Result<(), ParseError> {
        self.expect(&mut e.expr, ValueType::Vector, "aggregation expression")?;
        if let Some(param) = &mut e.param {
            let want = if e.op == AggregateOp::CountValues {
                ValueType::String
            } else {
                ValueType::Scalar
            };
            self.expect(param, want, "aggregation parameter")?;
        }
        Ok(())
    }

    /// The operator's own place: behind the left side, spaces skipped.
    fn operator(&self, e: &BinaryExpr) -> Span {
        let mut start = e.lhs.span().end;
        while self
            .input
            .get(start as usize)
            .is_some_and(u8::is_ascii_whitespace)
        {
            start += 1;
        }
        Span { start, end: start }
    }

    fn binary(&self, e: &mut BinaryExpr) -> Result<(), ParseError> {
        let left = self.visit(&mut e.lhs)?;
        let right = self.visit(&mut e.rhs)?;
        if e.return_bool && !e.op.is_comparison() {
            let text = "bool modifier can only be used on comparison operators";
            return Err(self.error(self.operator(e), text));
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if e.op.is_comparison() && !e.return_bool && scalars {
            let text = "comparisons between scalars must use BOOL modifier";
            return Err(self.error(self.operator(e), text));
        }
        if let Some(matching) = &mut e.matching
            && e.op.is_set()
            && matching.card == MatchCardinality::OneToOne
        {
            matching.card = MatchCardinality::ManyToMany;
        }
        if let Some(matching) = &e.matching
            && matching.on
            && let Some(label) = matching
                .labels
                .iter()
                .find(|l| matching.include.contains(l))
        {
            let text = format!(
                "label {} must not occur in ON and GROUP clause at once",
                go_quote(label.as_bytes())
            );
            return Err(self.error(self.operator(e), text));
        }
        for (value_type, side) in [(left, &e.lhs), (right, &e.rhs)] {
            if !is_number_like(value_type) {
                let text = "binary expression must contain only scalar and instant vector types";
                return Err(self.error(side.span(), text));
            }
        }
        let vectors = left == ValueType::Vector && right == ValueType::Vector;
        if let Some(matching) = &e.matching {
            let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
            if !vectors {
                if !matching.labels.is_empty() {
                    let text = "vector matching only allowed between instant vectors";
                    return Err(self.error(e.span, text));
                }
                if filled {
                    let text = "filling in missing series only allowed between instant vectors";
                    return Err(self.error(e.span, text));
                }
            } else if e.op.is_set() {
                if matching.card != MatchCardinality::ManyToMany {
                    let op = go_quote(e.op.as_str().as_bytes());
                    let text = format!("no grouping allowed for {op} operation");
                    return Err(self.error(e.span, text));
                }
                if filled {
                    let text = "filling in missing series not allowed for set operators";
                    return Err(self.error(e.span, text));
                }
            }
        }
        if !vectors {
            e.matching = None;
            if e.op.is_set() {
                let op = go_quote(e.op.as_str().as_bytes());
                let text = format!("set operator {op} not allowed in binary scalar expression");
                return Err(self.error(e.span, text));
            }
        }
        Ok(())
    }

    fn call(&self, e: &mut Call) -> Result<(), ParseError> {
        let name = go_quote(e.func.name.as_bytes());
        let declared = e.func.args.len();
        let got = e.args.len();
        let count = |quantity: &str, number: usize| {
            let text =
                format!("expected {quantity}{number} argument(s) in call to {name}, got {got}");
            Err(self.error(e.span, text))
        };
        if e.func.variadic == 0 {
            if got != declared {
                return count("", declared);
            }
        } else {
            let least = declared.saturating_sub(1);
            if got < least {
                return count("at least ", least);
            }
            if let Ok(repeats) = usize::try_from(e.func.variadic)
                && got > least + repeats
            {
                return count("at most ", least + repeats);
            }
        }
        let context = format!("call to function {name}");
        if e.func.name == "info"
            && let Some(selector) = e.args.get_mut(1)
        {
            let got = selector.value_type();
            if got != ValueType::Vector {
                let text = format!(
                    "expected type instant vector in {context}, got {}",
                    documented(got)
                );
                return Err(self.error(e.span, text));
            }
            let at = selector.span();
            match selector {
                Expr::Vector(v) if v.name.is_empty() => v.bypass_empty_matcher_check = true,
                Expr::Vector(_) => {
                    let text = "expected label selectors only, got vector selector instead";
                    return Err(self.error(at, text));
                }
                _ => return Err(self.error(at, "expected label selectors only")),
            }
        }
        for (index, arg) in e.args.iter_mut().enumerate() {
            let want = e
                .func
                .args
                .get(index)
                .or_else(|| e.func.args.last())
                .copied()
                .expect("BUG: a function without parameters got arguments");
            self.expect(arg, want, &context)?;
        }
        Ok(())
    }

    fn selector(&self, e: &VectorSelector) -> Result<(), ParseError> {
        if !e.name.is_empty() {
            let written = e.matchers.split_last().map_or(&[][..], |(_, rest)| rest);
            if let Some(m) = written.iter().find(|m| m.name == METRIC_NAME) {
                let text = format!(
                    "metric name must not be set twice: {} or {}",
                    go_quote(e.name.as_bytes()),
                    go_quote(m.value.as_bytes())
                );
                return Err(self.error(e.span, text));
            }
            return Ok(());
        }
        if !e.bypass_empty_matcher_check && e.matchers.iter().all(|m| m.matches_empty()) {
            let text = "vector selector must contain at least one non-empty matcher";
            return Err(self.error(e.span, text));
        }
        Ok(())
    }
}
