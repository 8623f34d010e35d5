//! Syntax tree to canonical text, byte for byte as Prometheus prints it; parsing the text gives the tree back.

use super::ast::*;
use super::quote::is_plain_label;
use crate::eval::text::go_quote;
use crate::number_text::format_plain;
use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use storage_engine::model::{METRIC_NAME, MatchOp, Matcher, format_duration_ms};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number(e) => e.fmt(f),
            Expr::String(e) => f.write_str(&go_quote(&e.value)),
            Expr::Paren(e) => write!(f, "({})", e.expr),
            Expr::Unary(e) => write!(f, "{}{}", e.op.as_str(), e.expr),
            Expr::Binary(e) => match unsigned_base(e) {
                Some(base) => write!(f, "{base} {} {}", operator(e), e.rhs),
                None => write!(f, "{} {} {}", e.lhs, operator(e), e.rhs),
            },
            Expr::Aggregate(e) => {
                write!(f, "{}(", aggregation(e))?;
                if let Some(param) = &e.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", e.expr)
            }
            Expr::Call(e) => {
                write!(f, "{}(", e.func.name)?;
                for (index, arg) in e.args.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{arg}")?;
                }
                f.write_str(")")
            }
            Expr::Vector(e) => e.fmt(f),
            Expr::Matrix(e) => e.fmt(f),
            Expr::Subquery(e) => write!(f, "{}{}", e.expr, window(e)),
            Expr::Duration(e) => e.fmt(f),
        }
    }
}

/// An infinite left side of a power, in the one spelling that stays a number: a sign would be read as that of the whole power. (Prometheus
/// prints `+Inf` here too, and reads it back as something else.)
pub(super) fn unsigned_base(e: &BinaryExpr) -> Option<&'static str> {
    match &e.lhs {
        Expr::Number(n) if e.op == BinaryOp::Pow && n.value == f64::INFINITY => Some("Inf"),
        _ => None,
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        if self.is_duration {
            text.push_str(&format_duration_ms((self.value * 1000.0).round() as i64));
        } else {
            format_plain(self.value, &mut text);
        }
        f.write_str(&text)
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.wrapped {
            f.write_str("(")?;
        }
        match (self.op, &self.lhs, &self.rhs) {
            (DurationOp::Step, ..) => f.write_str("step()")?,
            (DurationOp::Range, ..) => f.write_str("range()")?,
            (DurationOp::Min, Some(l), Some(r)) => write!(f, "min_of({l}, {r})")?,
            (DurationOp::Max, Some(l), Some(r)) => write!(f, "max_of({l}, {r})")?,
            (DurationOp::Sub, None, Some(r)) => write!(f, "-{r}")?,
            (_, None, Some(r)) => r.fmt(f)?,
            (op, Some(l), Some(r)) => {
                let op = match op {
                    DurationOp::Add => "+",
                    DurationOp::Sub => "-",
                    DurationOp::Mul => "*",
                    DurationOp::Div => "/",
                    DurationOp::Mod => "%",
                    _ => "^",
                };
                write!(f, "{l} {op} {r}")?;
            }
            (_, _, None) => {}
        }
        if self.wrapped {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_series(f)?;
        self.write_modifiers(f)
    }
}

impl VectorSelector {
    fn write_series(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_own_name = |m: &&Matcher| {
            m.name == METRIC_NAME
                && m.op == MatchOp::Equal
                && m.value == self.name
                && !m.value.is_empty()
        };
        let mut matchers: Vec<String> = self
            .matchers
            .iter()
            .filter(|m| !is_own_name(m))
            .map(matcher)
            .collect();
        f.write_str(&self.name)?;
        if !matchers.is_empty() {
            matchers.sort();
            write!(f, "{{{}}}", matchers.join(","))?;
        }
        Ok(())
    }

    fn write_modifiers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.anchored {
            f.write_str(" anchored")?;
        } else if self.smoothed {
            f.write_str(" smoothed")?;
        }
        write_at_and_offset(
            f,
            self.at,
            self.original_offset,
            self.original_offset_expr.as_deref(),
        )
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.selector.write_series(f)?;
        write!(f, "[{}]", duration(self.range, self.range_expr.as_deref()))?;
        self.selector.write_modifiers(f)
    }
}

/// `name="value"`, the name quoted where it must be.
fn matcher(m: &Matcher) -> String {
    let value = go_quote(m.value.as_bytes());
    format!("{}{}{value}", label(&m.name), m.op.as_str())
}

fn label(name: &str) -> Cow<'_, str> {
    if is_plain_label(name) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(go_quote(name.as_bytes()))
    }
}

fn labels(names: &[String]) -> String {
    let names: Vec<Cow<'_, str>> = names.iter().map(|n| label(n)).collect();
    names.join(", ")
}

fn duration(ms: i64, expr: Option<&DurationExpr>) -> String {
    let mut text = String::new();
    match expr {
        Some(expr) => text = expr.to_string(),
        None => text.push_str(&format_duration_ms(ms)),
    }
    text
}

fn write_at_and_offset(
    f: &mut Formatter<'_>,
    at: Option<AtModifier>,
    offset: i64,
    offset_expr: Option<&DurationExpr>,
) -> fmt::Result {
    match at {
        Some(AtModifier::Timestamp(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0)?,
        Some(AtModifier::Start) => f.write_str(" @ start()")?,
        Some(AtModifier::End) => f.write_str(" @ end()")?,
        None => {}
    }
    if offset != 0 || offset_expr.is_some() {
        write!(f, " offset {}", duration(offset, offset_expr))?;
    }
    Ok(())
}

/// `[range:step]` and what follows it.
pub(super) struct Window<'a>(&'a SubqueryExpr);

pub(super) fn window(subquery: &SubqueryExpr) -> Window<'_> {
    Window(subquery)
}

impl Display for Window<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let e = self.0;
        let range = duration(e.range, e.range_expr.as_deref());
        let step = if e.step == 0 && e.step_expr.is_none() {
            String::new()
        } else {
            duration(e.step, e.step_expr.as_deref())
        };
        write!(f, "[{range}:{step}]")?;
        write_at_and_offset(
            f,
            e.at,
            e.original_offset,
            e.original_offset_expr.as_deref(),
        )
    }
}

/// `sum by (a, b) `, without the arguments.
pub(super) fn aggregation(e: &AggregateExpr) -> String {
    let name = e.op.as_str();
    if e.without {
        format!("{name} without ({}) ", labels(&e.grouping))
    } else if e.grouping.is_empty() {
        name.to_owned()
    } else {
        format!("{name} by ({}) ", labels(&e.grouping))
    }
}

/// `== bool on (a) group_left (b) fill (0)`, without the operands.
pub(super) fn operator(e: &BinaryExpr) -> String {
    let mut text = e.op.as_str().to_owned();
    if e.return_bool {
        text.push_str(" bool");
    }
    let Some(m) = &e.matching else {
        return text;
    };
    let group = match m.card {
        MatchCardinality::ManyToOne => Some("group_left"),
        MatchCardinality::OneToMany => Some("group_right"),
        MatchCardinality::OneToOne | MatchCardinality::ManyToMany => None,
    };
    if m.on || !m.labels.is_empty() || group.is_some() {
        let word = if m.on { "on" } else { "ignoring" };
        text.push_str(&format!(" {word} ({})", labels(&m.labels)));
    }
    if let Some(group) = group {
        text.push_str(&format!(" {group} ({})", labels(&m.include)));
    }
    let mut fill = |word: &str, value: f64| {
        text.push_str(&format!(" {word} ("));
        format_plain(value, &mut text);
        text.push(')');
    };
    match (m.fill_left, m.fill_right) {
        (Some(l), Some(r)) if l == r || (l.is_nan() && r.is_nan()) => fill("fill", l),
        (l, r) => {
            if let Some(l) = l {
                fill("fill_left", l);
            }
            if let Some(r) = r {
                fill("fill_right", r);
            }
        }
    }
    text
}
