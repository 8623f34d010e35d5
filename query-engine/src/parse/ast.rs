//! The PromQL syntax tree, with the byte range of every node in the query text.
//!
//! The parser builds it, the printers write it back, the planner reads it. Durations are milliseconds.
//! Where 3.14 allows a duration expression, the node keeps the expression beside the folded value: `*_expr` is `Some` until the
//! planner has evaluated it (`step()` and `range()` are not known to the parser).

use storage_engine::model::Matcher;

/// Byte range in the query text, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// What kind of value an expression yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number per step.
    Scalar,
    /// One sample per series and step.
    Vector,
    /// A window of samples per series.
    Matrix,
    /// A text.
    String,
}

/// Any PromQL expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `1.5`, `0x1f`, `Inf`, `1h30m`.
    Number(NumberLiteral),
    /// `"text"`.
    String(StringLiteral),
    /// `(expr)`.
    Paren(ParenExpr),
    /// `-expr`, `+expr`.
    Unary(UnaryExpr),
    /// `lhs op rhs`.
    Binary(Box<BinaryExpr>),
    /// `sum by (x) (expr)`.
    Aggregate(Box<AggregateExpr>),
    /// `rate(x[5m])`.
    Call(Call),
    /// `name{label="x"} offset 5m @ 10`.
    Vector(VectorSelector),
    /// `selector[5m]`.
    Matrix(Box<MatrixSelector>),
    /// `expr[5m:1m]`.
    Subquery(Box<SubqueryExpr>),
    /// A duration expression, only where a duration may stand (`[5m * 2]`, `offset -step()`), never elsewhere.
    Duration(Box<DurationExpr>),
}

/// A number, perhaps written as a duration.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberLiteral {
    /// The value; seconds when written as a duration.
    pub value: f64,
    /// Written as a duration (`5m`), printed back as one.
    pub is_duration: bool,
    /// Where.
    pub span: Span,
}

/// A text; bytes, because PromQL escapes can make any.
#[derive(Debug, Clone, PartialEq)]
pub struct StringLiteral {
    /// Unescaped bytes.
    pub value: Vec<u8>,
    /// Where, quotes included.
    pub span: Span,
}

/// An expression in parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct ParenExpr {
    /// Inside.
    pub expr: Box<Expr>,
    /// Where, parentheses included.
    pub span: Span,
}

/// A sign in front of an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct UnaryExpr {
    /// `Add` or `Sub`.
    pub op: BinaryOp,
    /// Operand.
    pub expr: Box<Expr>,
    /// Where, sign included.
    pub span: Span,
}

/// Binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eql,
    Neq,
    Lss,
    Lte,
    Gtr,
    Gte,
    /// `</`
    TrimUpper,
    /// `>/`
    TrimLower,
    And,
    Or,
    Unless,
}

/// How many series of one side may match one of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchCardinality {
    /// Neither `group_left` nor `group_right`.
    OneToOne,
    /// `group_left`: many on the left.
    ManyToOne,
    /// `group_right`: many on the right.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// `on`, `ignoring`, `group_left`, `group_right`, `fill`.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorMatching {
    /// Cardinality.
    pub card: MatchCardinality,
    /// Labels of `on(...)` or `ignoring(...)`.
    pub labels: Vec<String>,
    /// True for `on`.
    pub on: bool,
    /// Labels of `group_left(...)` / `group_right(...)`.
    pub include: Vec<String>,
    /// `fill` / `fill_left`: value for a missing left side.
    pub fill_left: Option<f64>,
    /// `fill` / `fill_right`: value for a missing right side.
    pub fill_right: Option<f64>,
}

/// Two operands and how they meet.
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryExpr {
    /// Operator.
    pub op: BinaryOp,
    /// Left.
    pub lhs: Expr,
    /// Right.
    pub rhs: Expr,
    /// `bool` after a comparison.
    pub return_bool: bool,
    /// `Some` when both sides are vectors.
    pub matching: Option<VectorMatching>,
    /// Where.
    pub span: Span,
}

/// Aggregation operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

/// `op by (labels) (param, expr)`.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateExpr {
    /// Operator.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// The parameter of topk, bottomk, quantile, count_values, limitk, limit_ratio.
    pub param: Option<Expr>,
    /// Labels of `by` / `without`.
    pub grouping: Vec<String>,
    /// True for `without`.
    pub without: bool,
    /// Where.
    pub span: Span,
}

/// A function call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which function; see `parse::functions`.
    pub func: &'static crate::parse::functions::Function,
    /// Arguments.
    pub args: Vec<Expr>,
    /// Where, closing parenthesis included.
    pub span: Span,
}

/// What `@` says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AtModifier {
    /// `@ 1609746000`, in milliseconds.
    Timestamp(i64),
    /// `@ start()`.
    Start,
    /// `@ end()`.
    End,
}

/// A selector of instant samples.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// Metric name where it was written as an identifier, else empty.
    pub name: String,
    /// All matchers in the order written; the name, if any, as an equality on `__name__` at the end, as Prometheus keeps it.
    pub matchers: Vec<Matcher>,
    /// `offset` as written, milliseconds.
    pub original_offset: i64,
    /// `offset` as a duration expression.
    pub original_offset_expr: Option<Box<DurationExpr>>,
    /// `@`.
    pub at: Option<AtModifier>,
    /// `anchored`.
    pub anchored: bool,
    /// `smoothed`.
    pub smoothed: bool,
    /// True when only matchers that match the empty string are allowed (inside `info()`).
    pub bypass_empty_matcher_check: bool,
    /// Where, modifiers included.
    pub span: Span,
}

/// A selector of windows.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    /// The series (offset and `@` live here); its span ends before the bracket.
    pub selector: VectorSelector,
    /// Window length, milliseconds.
    pub range: i64,
    /// Window length as a duration expression.
    pub range_expr: Option<Box<DurationExpr>>,
    /// Where, brackets and modifiers included.
    pub span: Span,
}

/// An expression evaluated over a window of its own steps.
#[derive(Debug, Clone, PartialEq)]
pub struct SubqueryExpr {
    /// Inside.
    pub expr: Expr,
    /// Window length, milliseconds.
    pub range: i64,
    /// Window length as a duration expression.
    pub range_expr: Option<Box<DurationExpr>>,
    /// Resolution, milliseconds; 0 means the default.
    pub step: i64,
    /// Resolution as a duration expression.
    pub step_expr: Option<Box<DurationExpr>>,
    /// `offset` as written, milliseconds.
    pub original_offset: i64,
    /// `offset` as a duration expression.
    pub original_offset_expr: Option<Box<DurationExpr>>,
    /// `@`.
    pub at: Option<AtModifier>,
    /// Where.
    pub span: Span,
}

/// Operators and functions of duration expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    /// `step()`
    Step,
    /// `range()`
    Range,
    /// `min_of(a, b)`
    Min,
    /// `max_of(a, b)`
    Max,
}

/// A duration computed at plan time; values are seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationExpr {
    /// Operator.
    pub op: DurationOp,
    /// Left operand; `None` for signs and for `step()`, `range()`.
    pub lhs: Option<Expr>,
    /// Right operand.
    pub rhs: Option<Expr>,
    /// Written in parentheses.
    pub wrapped: bool,
    /// Where.
    pub span: Span,
}

impl ValueType {
    /// The word of the API: `scalar`, `vector`, `matrix`, `string`.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "vector",
            ValueType::Matrix => "matrix",
            ValueType::String => "string",
        }
    }
}

impl BinaryOp {
    /// As PromQL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Eql => "==",
            BinaryOp::Neq => "!=",
            BinaryOp::Lss => "<",
            BinaryOp::Lte => "<=",
            BinaryOp::Gtr => ">",
            BinaryOp::Gte => ">=",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    /// `==`, `!=`, `<`, `<=`, `>`, `>=`: those that may carry `bool`.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            BinaryOp::Eql
                | BinaryOp::Neq
                | BinaryOp::Lss
                | BinaryOp::Lte
                | BinaryOp::Gtr
                | BinaryOp::Gte
        )
    }

    /// `and`, `or`, `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}

impl MatchCardinality {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchCardinality::OneToOne => "one-to-one",
            MatchCardinality::ManyToOne => "many-to-one",
            MatchCardinality::OneToMany => "one-to-many",
            MatchCardinality::ManyToMany => "many-to-many",
        }
    }
}

/// Every aggregation and how it is written.
const AGGREGATIONS: [(AggregateOp, &str); 14] = [
    (AggregateOp::Sum, "sum"),
    (AggregateOp::Avg, "avg"),
    (AggregateOp::Count, "count"),
    (AggregateOp::Min, "min"),
    (AggregateOp::Max, "max"),
    (AggregateOp::Group, "group"),
    (AggregateOp::Stddev, "stddev"),
    (AggregateOp::Stdvar, "stdvar"),
    (AggregateOp::Topk, "topk"),
    (AggregateOp::Bottomk, "bottomk"),
    (AggregateOp::CountValues, "count_values"),
    (AggregateOp::Quantile, "quantile"),
    (AggregateOp::Limitk, "limitk"),
    (AggregateOp::LimitRatio, "limit_ratio"),
];

impl AggregateOp {
    /// As PromQL writes it.
    pub fn as_str(self) -> &'static str {
        AGGREGATIONS
            .iter()
            .find(|(op, _)| *op == self)
            .map(|(_, name)| *name)
            .expect("BUG: every aggregation has a name")
    }

    /// The aggregation of that lower-case name.
    pub fn from_name(name: &str) -> Option<Self> {
        AGGREGATIONS
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(op, _)| *op)
    }

    /// Does it take a parameter before the vector?
    pub fn takes_parameter(self) -> bool {
        matches!(
            self,
            AggregateOp::Topk
                | AggregateOp::Bottomk
                | AggregateOp::CountValues
                | AggregateOp::Quantile
                | AggregateOp::Limitk
                | AggregateOp::LimitRatio
        )
    }
}

impl Expr {
    /// The expression inside any parentheses.
    pub fn bare(&self) -> &Expr {
        let mut expr = self;
        while let Expr::Paren(p) = expr {
            expr = &p.expr;
        }
        expr
    }

    /// The expressions directly inside, in the order they are written; durations are not among them, and the selector of a
    /// [`MatrixSelector`] is part of it.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Number(_)
            | Expr::String(_)
            | Expr::Vector(_)
            | Expr::Matrix(_)
            | Expr::Duration(_) => Vec::new(),
            Expr::Paren(e) => vec![&e.expr],
            Expr::Unary(e) => vec![&e.expr],
            Expr::Subquery(e) => vec![&e.expr],
            Expr::Binary(e) => vec![&e.lhs, &e.rhs],
            Expr::Aggregate(e) => e.param.iter().chain([&e.expr]).collect(),
            Expr::Call(e) => e.args.iter().collect(),
        }
    }

    /// Calls `visit` for this node and every node below it, parents first.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        let mut waiting = vec![self];
        while let Some(expr) = waiting.pop() {
            visit(expr);
            let mut children = expr.children();
            children.reverse();
            waiting.append(&mut children);
        }
    }

    /// The byte range of the node.
    pub fn span(&self) -> Span {
        match self {
            Expr::Number(e) => e.span,
            Expr::String(e) => e.span,
            Expr::Paren(e) => e.span,
            Expr::Unary(e) => e.span,
            Expr::Binary(e) => e.span,
            Expr::Aggregate(e) => e.span,
            Expr::Call(e) => e.span,
            Expr::Vector(e) => e.span,
            Expr::Matrix(e) => e.span,
            Expr::Subquery(e) => e.span,
            Expr::Duration(e) => e.span,
        }
    }

    /// The type of the value that the expression yields.
    pub fn value_type(&self) -> ValueType {
        match self {
            Expr::Number(_) | Expr::Duration(_) => ValueType::Scalar,
            Expr::String(_) => ValueType::String,
            Expr::Paren(e) => e.expr.value_type(),
            Expr::Unary(e) => e.expr.value_type(),
            Expr::Binary(e) => {
                if e.lhs.value_type() == ValueType::Scalar
                    && e.rhs.value_type() == ValueType::Scalar
                {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
            Expr::Aggregate(_) | Expr::Vector(_) => ValueType::Vector,
            Expr::Call(e) => e.func.return_type,
            Expr::Matrix(_) | Expr::Subquery(_) => ValueType::Matrix,
        }
    }
}
