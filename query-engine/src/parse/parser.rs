//! Tokens to syntax tree: a Pratt parser with Prometheus's precedences and error texts.
//!
//! Promise: linear time, no recursion deeper than `nesting_max`, no tree deeper than `tree_depth_max`, and the first error is the one that
//! Prometheus's generated parser would report. Types are checked by `check`, after the syntax is known to be right.
//!
//! Error contexts: where Prometheus's grammar can recover from an error (aggregation, grouping, offset, `@`, brackets, label matching),
//! the innermost of these names the context; elsewhere the text is only `unexpected …`.

use super::ast::*;
use super::check::check;
use super::error::ParseError;
use super::functions::lookup;
use super::lexer::{Kind, Lexer, Token};
use super::number::parse_number;
use super::quote::unquote;
use crate::eval::text::go_quote;
use crate::limits::QUERY_REGEX_BYTES_MAX;
use storage_engine::model::{METRIC_NAME, MatchOp, Matcher, parse_duration_ms};

/// Which parts of the language are switched on, and the bounds of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParserOptions {
    /// Experimental functions and aggregations (`--enable-feature=promql-experimental-functions`).
    pub experimental_functions: bool,
    /// Arithmetic in durations, `[5m * 2]`.
    pub duration_expressions: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left`, `fill_right`.
    pub binop_fill_modifiers: bool,
    /// Longest query in bytes.
    pub query_bytes_max: usize,
    /// Deepest nesting of parentheses, calls, signs and right-hand sides.
    pub nesting_max: usize,
    /// Deepest tree, chains like `1 + 1 + 1` included: everything that walks the tree recurses this deep at most.
    pub tree_depth_max: usize,
    /// Bytes that the regular expressions of a query may take when they are compiled, all together.
    pub regex_bytes_max: usize,
}

impl Default for ParserOptions {
    /// What a Prometheus 3.14 server accepts without feature flags.
    fn default() -> Self {
        ParserOptions {
            experimental_functions: false,
            duration_expressions: true,
            extended_range_selectors: false,
            binop_fill_modifiers: false,
            query_bytes_max: 1 << 20,
            nesting_max: 128,
            tree_depth_max: 512,
            regex_bytes_max: QUERY_REGEX_BYTES_MAX,
        }
    }
}

impl ParserOptions {
    /// The whole language, as the language tests need it.
    pub fn all() -> Self {
        ParserOptions {
            experimental_functions: true,
            duration_expressions: true,
            extended_range_selectors: true,
            binop_fill_modifiers: true,
            ..ParserOptions::default()
        }
    }
}

/// Parses and type-checks a query.
pub fn parse(query: &str, options: &ParserOptions) -> Result<Expr, ParseError> {
    parse_bytes(query.as_bytes(), options)
}

/// As [`parse`], for text that may not be UTF-8; it then is an error that says where.
pub fn parse_bytes(query: &[u8], options: &ParserOptions) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(query, options)?;
    if parser.peek()?.kind == Kind::Eof {
        return Err(ParseError::new(query, 0, "no expression found in input"));
    }
    let mut expr = parser.expression(0)?.expr;
    parser.expect_end()?;
    check(&mut expr, query)?;
    Ok(expr)
}

/// Parses a series selector as the API's `match[]` takes it, `name{label="value"}`.
///
/// That at least one matcher must not match the empty string is for the caller to check: the API and the parser word it differently.
pub fn parse_metric_selector(selector: &str) -> Result<Vec<Matcher>, ParseError> {
    let input = selector.as_bytes();
    let options = ParserOptions::default();
    let mut parser = Parser::new(input, &options)?;
    let token = parser.take()?;
    if !(is_metric_name(token.kind) || token.kind == Kind::LeftBrace) {
        return Err(parser.unexpected(token));
    }
    let matchers = parser.vector_selector(token)?.matchers;
    parser.expect_end()?;
    Ok(matchers)
}

/// An expression and the height of its tree.
struct Tall {
    expr: Expr,
    height: usize,
}

impl Tall {
    fn leaf(expr: Expr) -> Self {
        Tall { expr, height: 1 }
    }
}

/// Where an unexpected token was found, and what could have stood there.
type Context = (&'static str, &'static str);

const AGGREGATION: Context = ("aggregation", "");
const OFFSET: Context = ("offset", "number, duration, step(), or range()");
const AT: Context = ("@", "timestamp");
const BRACKET: Context = (
    "subquery or range selector",
    "number, duration, step(), or range()",
);
const STEP: Context = (
    "subquery selector",
    "number, duration, step(), range(), or \"]\"",
);

/// Binding power of `^`, the strongest binary operator.
const POWER: u8 = 6;
/// Binding power of `* / %`, which signs share.
const PRODUCT: u8 = 5;
/// Seconds that fit Prometheus's durations (nanoseconds in an i64).
const DURATION_SECONDS_MAX: f64 = 9_223_372_036.854_776;

struct Parser<'a> {
    input: &'a [u8],
    options: &'a ParserOptions,
    lexer: Lexer<'a>,
    peeked: Option<Token>,
    /// End of the last token taken.
    last_end: usize,
    nesting: usize,
    contexts: Vec<Context>,
    /// Bytes that the regular expressions so far take.
    regex_bytes: usize,
}

fn span(start: usize, end: usize) -> Span {
    // Offsets fit: query_bytes_max is checked against u32 when the parser is made.
    Span {
        start: start as u32,
        end: end as u32,
    }
}

fn is_metric_name(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Identifier
            | Kind::MetricIdentifier
            | Kind::Aggregator
            | Kind::By
            | Kind::And
            | Kind::Or
            | Kind::Unless
            | Kind::Offset
            | Kind::Without
            | Kind::Start
            | Kind::End
            | Kind::Step
            | Kind::Range
            | Kind::MinOf
            | Kind::MaxOf
            | Kind::Anchored
            | Kind::Smoothed
            | Kind::Fill
            | Kind::FillLeft
            | Kind::FillRight
    )
}

fn is_label_name(kind: Kind) -> bool {
    is_metric_name(kind)
        || matches!(
            kind,
            Kind::Bool
                | Kind::GroupLeft
                | Kind::GroupRight
                | Kind::Ignoring
                | Kind::On
                | Kind::Atan2
        )
}

fn starts_expression(kind: Kind) -> bool {
    is_metric_name(kind)
        || matches!(
            kind,
            Kind::Number
                | Kind::Duration
                | Kind::String
                | Kind::LeftParen
                | Kind::LeftBrace
                | Kind::Add
                | Kind::Sub
        )
}

fn binary_operator(kind: Kind) -> Option<(BinaryOp, u8)> {
    Some(match kind {
        Kind::Or => (BinaryOp::Or, 1),
        Kind::And => (BinaryOp::And, 2),
        Kind::Unless => (BinaryOp::Unless, 2),
        Kind::EqualEqual => (BinaryOp::Eql, 3),
        Kind::NotEqual => (BinaryOp::Neq, 3),
        Kind::Less => (BinaryOp::Lss, 3),
        Kind::LessEqual => (BinaryOp::Lte, 3),
        Kind::Greater => (BinaryOp::Gtr, 3),
        Kind::GreaterEqual => (BinaryOp::Gte, 3),
        Kind::TrimUpper => (BinaryOp::TrimUpper, 3),
        Kind::TrimLower => (BinaryOp::TrimLower, 3),
        Kind::Add => (BinaryOp::Add, 4),
        Kind::Sub => (BinaryOp::Sub, 4),
        Kind::Mul => (BinaryOp::Mul, PRODUCT),
        Kind::Div => (BinaryOp::Div, PRODUCT),
        Kind::Mod => (BinaryOp::Mod, PRODUCT),
        Kind::Atan2 => (BinaryOp::Atan2, PRODUCT),
        Kind::Pow => (BinaryOp::Pow, POWER),
        _ => return None,
    })
}

fn duration_operator(kind: Kind) -> Option<(DurationOp, u8)> {
    Some(match kind {
        Kind::Add => (DurationOp::Add, 4),
        Kind::Sub => (DurationOp::Sub, 4),
        Kind::Mul => (DurationOp::Mul, PRODUCT),
        Kind::Div => (DurationOp::Div, PRODUCT),
        Kind::Mod => (DurationOp::Mod, PRODUCT),
        Kind::Pow => (DurationOp::Pow, POWER),
        _ => return None,
    })
}

fn match_operator(kind: Kind) -> Option<MatchOp> {
    Some(match kind {
        Kind::Equal => MatchOp::Equal,
        Kind::NotEqual => MatchOp::NotEqual,
        Kind::EqualRegex => MatchOp::Regex,
        Kind::NotEqualRegex => MatchOp::NotRegex,
        _ => return None,
    })
}

/// Milliseconds of a duration in seconds, rounded to nanoseconds first as Prometheus does.
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64 / 1_000_000
}

impl<'a> Parser<'a> {
    fn new(input: &'a [u8], options: &'a ParserOptions) -> Result<Self, ParseError> {
        let bytes_max = options.query_bytes_max.min(u32::MAX as usize);
        if input.len() > bytes_max {
            let text = format!(
                "query is {} bytes long, at most {bytes_max} are allowed",
                input.len()
            );
            return Err(ParseError::new(input, 0, text));
        }
        Ok(Parser {
            input,
            options,
            lexer: Lexer::new(input),
            peeked: None,
            last_end: 0,
            nesting: 0,
            contexts: Vec::new(),
            regex_bytes: 0,
        })
    }

    // ---- tokens ----

    fn peek(&mut self) -> Result<Token, ParseError> {
        match self.peeked {
            Some(token) => Ok(token),
            None => {
                let token = self.lexer.next()?;
                self.peeked = Some(token);
                Ok(token)
            }
        }
    }

    fn take(&mut self) -> Result<Token, ParseError> {
        let token = self.peek()?;
        self.peeked = None;
        self.last_end = token.end;
        Ok(token)
    }

    /// Takes the next token if it is of that kind.
    fn accept(&mut self, kind: Kind) -> Result<bool, ParseError> {
        let yes = self.peek()?.kind == kind;
        if yes {
            self.take()?;
        }
        Ok(yes)
    }

    /// Takes the next token, which must be of that kind; else it is unexpected in the enclosing context.
    fn expect(&mut self, kind: Kind) -> Result<Token, ParseError> {
        let token = self.peek()?;
        if token.kind != kind {
            return Err(self.unexpected(token));
        }
        self.take()
    }

    fn expect_end(&mut self) -> Result<(), ParseError> {
        self.expect(Kind::Eof).map(|_| ())
    }

    fn text(&self, token: Token) -> &'a [u8] {
        self.input.get(token.start..token.end).unwrap_or_default()
    }

    /// Names and numbers are ASCII by the lexer's rules.
    fn name(&self, token: Token) -> String {
        String::from_utf8_lossy(self.text(token)).into_owned()
    }

    fn error(&self, at: usize, text: impl Into<String>) -> ParseError {
        ParseError::new(self.input, at, text)
    }

    fn unexpected(&self, token: Token) -> ParseError {
        let context = self.contexts.last().copied().unwrap_or_default();
        self.unexpected_in(token, context)
    }

    fn unexpected_in(&self, token: Token, (context, expected): Context) -> ParseError {
        let mut text = format!("unexpected {}", token.describe(self.input));
        if !context.is_empty() {
            text.push_str(" in ");
            text.push_str(context);
        }
        if !expected.is_empty() {
            text.push_str(", expected ");
            text.push_str(expected);
        }
        self.error(token.start, text)
    }

    // ---- bounds ----

    fn enter(&mut self) -> Result<(), ParseError> {
        self.nesting += 1;
        if self.nesting > self.options.nesting_max {
            let at = self.peek()?.start;
            let text = format!(
                "expression is nested deeper than {} levels",
                self.options.nesting_max
            );
            return Err(self.error(at, text));
        }
        Ok(())
    }

    fn grown(&self, mut expr: Expr, height_below: usize) -> Result<Tall, ParseError> {
        let height = height_below + 1;
        if height > self.options.tree_depth_max {
            // Prometheus has no such bound: what it would say first of the part that is here is worth more.
            check(&mut expr, self.input)?;
            let text = format!(
                "expression is a tree of more than {} levels",
                self.options.tree_depth_max
            );
            return Err(self.error(expr.span().start as usize, text));
        }
        Ok(Tall { expr, height })
    }

    // ---- expressions ----

    /// An expression whose operators all bind at least as strongly as `power`.
    fn expression(&mut self, power: u8) -> Result<Tall, ParseError> {
        self.enter()?;
        let mut left = self.operand()?;
        loop {
            let token = self.peek()?;
            match token.kind {
                Kind::Offset => self.offset(&mut left.expr)?,
                Kind::At => self.at_modifier(&mut left.expr)?,
                Kind::LeftBracket => left = self.bracket(left)?,
                Kind::Anchored | Kind::Smoothed => self.extended(&mut left.expr)?,
                kind => match binary_operator(kind) {
                    Some((op, op_power)) if op_power >= power => {
                        left = self.binary(left, op, op_power)?;
                    }
                    _ => break,
                },
            }
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn binary(&mut self, left: Tall, op: BinaryOp, power: u8) -> Result<Tall, ParseError> {
        self.take()?;
        let (return_bool, matching) = self.binary_modifiers()?;
        let right_power = if op == BinaryOp::Pow {
            power
        } else {
            power + 1
        };
        let right = self.expression(right_power)?;
        let start = left.expr.span().start;
        let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        if filled && !self.options.binop_fill_modifiers {
            let text = "binop fill modifiers are experimental and not enabled";
            return Err(self.error(start as usize, text));
        }
        let end = right.expr.span().end;
        let height = left.height.max(right.height);
        let expr = Expr::Binary(Box::new(BinaryExpr {
            op,
            lhs: left.expr,
            rhs: right.expr,
            return_bool,
            matching: Some(matching),
            span: Span { start, end },
        }));
        self.grown(expr, height)
    }

    fn binary_modifiers(&mut self) -> Result<(bool, VectorMatching), ParseError> {
        let mut matching = VectorMatching {
            card: MatchCardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let return_bool = self.accept(Kind::Bool)?;
        let token = self.peek()?;
        if matches!(token.kind, Kind::On | Kind::Ignoring) {
            self.take()?;
            matching.on = token.kind == Kind::On;
            matching.labels = self.grouping_labels()?;
            let token = self.peek()?;
            if matches!(token.kind, Kind::GroupLeft | Kind::GroupRight) {
                self.take()?;
                matching.card = if token.kind == Kind::GroupLeft {
                    MatchCardinality::ManyToOne
                } else {
                    MatchCardinality::OneToMany
                };
                if self.peek()?.kind == Kind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        loop {
            let token = self.peek()?;
            let (left, right) = match token.kind {
                Kind::Fill => (true, true),
                Kind::FillLeft => (true, false),
                Kind::FillRight => (false, true),
                _ => break,
            };
            // Without a parenthesis it is a metric of that name.
            if self.lexer.clone().next()?.kind != Kind::LeftParen {
                break;
            }
            if (left && matching.fill_left.is_some()) || (right && matching.fill_right.is_some()) {
                return Err(self.unexpected(token));
            }
            self.take()?;
            self.expect(Kind::LeftParen)?;
            let value = self.signed_number()?;
            self.expect(Kind::RightParen)?;
            if left {
                matching.fill_left = Some(value);
            }
            if right {
                matching.fill_right = Some(value);
            }
        }
        Ok((return_bool, matching))
    }

    fn operand(&mut self) -> Result<Tall, ParseError> {
        let token = self.peek()?;
        match token.kind {
            Kind::Add | Kind::Sub => self.unary(),
            Kind::Number | Kind::Duration => {
                self.take()?;
                Ok(Tall::leaf(Expr::Number(self.number_literal(token)?)))
            }
            Kind::String => {
                self.take()?;
                Ok(Tall::leaf(Expr::String(StringLiteral {
                    value: self.string(token)?,
                    span: span(token.start, token.end),
                })))
            }
            Kind::LeftParen => {
                self.take()?;
                let inside = self.expression(0)?;
                self.expect(Kind::RightParen)?;
                let expr = Expr::Paren(ParenExpr {
                    expr: Box::new(inside.expr),
                    span: span(token.start, self.last_end),
                });
                self.grown(expr, inside.height)
            }
            Kind::LeftBrace => {
                self.take()?;
                Ok(Tall::leaf(Expr::Vector(self.vector_selector(token)?)))
            }
            kind if is_metric_name(kind) => {
                self.take()?;
                let next = self.peek()?.kind;
                match kind {
                    Kind::Aggregator
                        if matches!(next, Kind::LeftParen | Kind::By | Kind::Without) =>
                    {
                        self.aggregation(token)
                    }
                    Kind::Identifier
                    | Kind::Start
                    | Kind::End
                    | Kind::Step
                    | Kind::Range
                    | Kind::MinOf
                    | Kind::MaxOf
                        if next == Kind::LeftParen =>
                    {
                        self.call(token)
                    }
                    _ => Ok(Tall::leaf(Expr::Vector(self.vector_selector(token)?))),
                }
            }
            _ => Err(self.unexpected(token)),
        }
    }

    fn unary(&mut self) -> Result<Tall, ParseError> {
        let sign = self.take()?;
        let negative = sign.kind == Kind::Sub;
        let operand = self.expression(POWER)?;
        match operand.expr {
            Expr::Number(mut number) => {
                if negative {
                    number.value = -number.value;
                }
                number.span.start = sign.start as u32;
                Ok(Tall::leaf(Expr::Number(number)))
            }
            expr => {
                let end = expr.span().end as usize;
                let unary = Expr::Unary(UnaryExpr {
                    op: if negative {
                        BinaryOp::Sub
                    } else {
                        BinaryOp::Add
                    },
                    expr: Box::new(expr),
                    span: span(sign.start, end),
                });
                self.grown(unary, operand.height)
            }
        }
    }

    // ---- aggregations and calls ----

    fn aggregation(&mut self, name: Token) -> Result<Tall, ParseError> {
        let op = AggregateOp::from_name(&self.name(name).to_ascii_lowercase())
            .expect("BUG: the lexer and the tree disagree on aggregation operators");
        self.contexts.push(AGGREGATION);
        let mut grouping = self.aggregation_modifier()?;
        let (mut args, height) = self.arguments()?;
        self.contexts.pop();
        if grouping.is_none() {
            grouping = self.aggregation_modifier()?;
        }
        let (grouping, without) = grouping.unwrap_or_default();
        if args.is_empty() {
            return Err(self.error(name.start, "no arguments for aggregate expression provided"));
        }
        let experimental = matches!(op, AggregateOp::Limitk | AggregateOp::LimitRatio);
        if experimental && !self.options.experimental_functions {
            let text = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.as_str()
            );
            return Err(self.error(name.start, text));
        }
        let wanted = if op.takes_parameter() { 2 } else { 1 };
        if args.len() != wanted {
            let text = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                args.len()
            );
            return Err(self.error(name.start, text));
        }
        let expr = args
            .pop()
            .expect("BUG: the number of arguments was checked");
        let aggregate = Expr::Aggregate(Box::new(AggregateExpr {
            op,
            expr,
            param: args.pop(),
            grouping,
            without,
            span: span(name.start, self.last_end),
        }));
        self.grown(aggregate, height)
    }

    fn aggregation_modifier(&mut self) -> Result<Option<(Vec<String>, bool)>, ParseError> {
        let kind = self.peek()?.kind;
        if !matches!(kind, Kind::By | Kind::Without) {
            return Ok(None);
        }
        self.take()?;
        Ok(Some((self.grouping_labels()?, kind == Kind::Without)))
    }

    fn grouping_labels(&mut self) -> Result<Vec<String>, ParseError> {
        const CONTEXT: &str = "grouping opts";
        let token = self.peek()?;
        if token.kind != Kind::LeftParen {
            return Err(self.unexpected_in(token, (CONTEXT, "\"(\"")));
        }
        self.take()?;
        let mut labels = Vec::new();
        if self.accept(Kind::RightParen)? {
            return Ok(labels);
        }
        loop {
            let token = self.peek()?;
            let label = if token.kind == Kind::String {
                self.take()?;
                String::from_utf8(self.string(token)?)
                    .map_err(|e| self.invalid_label(token, e.as_bytes()))?
            } else if is_label_name(token.kind) {
                self.take()?;
                self.name(token)
            } else {
                return Err(self.unexpected_in(token, (CONTEXT, "label")));
            };
            if label.is_empty() {
                return Err(self.invalid_label(token, b""));
            }
            labels.push(label);
            let token = self.peek()?;
            match token.kind {
                Kind::Comma => {
                    self.take()?;
                    if self.accept(Kind::RightParen)? {
                        return Ok(labels);
                    }
                }
                Kind::RightParen => {
                    self.take()?;
                    return Ok(labels);
                }
                _ => return Err(self.unexpected_in(token, (CONTEXT, "\",\" or \")\""))),
            }
        }
    }

    fn invalid_label(&self, token: Token, label: &[u8]) -> ParseError {
        let text = format!("invalid label name for grouping: {}", go_quote(label));
        self.error(token.start, text)
    }

    fn call(&mut self, name: Token) -> Result<Tall, ParseError> {
        let (args, height) = self.arguments()?;
        let text = self.name(name);
        let Some(func) = lookup(&text) else {
            let quoted = go_quote(text.as_bytes());
            return Err(self.error(name.start, format!("unknown function with name {quoted}")));
        };
        if func.experimental && !self.options.experimental_functions {
            let quoted = go_quote(text.as_bytes());
            return Err(self.error(name.start, format!("function {quoted} is not enabled")));
        }
        let call = Expr::Call(Call {
            func,
            args,
            span: span(name.start, self.last_end),
        });
        self.grown(call, height)
    }

    /// `(a, b)`, and the height of the tallest.
    fn arguments(&mut self) -> Result<(Vec<Expr>, usize), ParseError> {
        self.expect(Kind::LeftParen)?;
        let mut args = Vec::new();
        let mut height = 0;
        if self.accept(Kind::RightParen)? {
            return Ok((args, height));
        }
        loop {
            let arg = self.expression(0)?;
            height = height.max(arg.height);
            args.push(arg.expr);
            let token = self.peek()?;
            match token.kind {
                Kind::RightParen => {
                    self.take()?;
                    return Ok((args, height));
                }
                Kind::Comma => {
                    self.take()?;
                    if !starts_expression(self.peek()?.kind) {
                        let text = "trailing commas not allowed in function call args";
                        return Err(self.error(token.start, text));
                    }
                }
                _ => return Err(self.unexpected(token)),
            }
        }
    }

    // ---- selectors ----

    /// The selector that starts with `first`, which is its name or its brace and is already taken.
    fn vector_selector(&mut self, first: Token) -> Result<VectorSelector, ParseError> {
        let mut name = String::new();
        let mut matchers = Vec::new();
        if first.kind == Kind::LeftBrace {
            matchers = self.label_matchers()?;
        } else {
            name = self.name(first);
            if self.accept(Kind::LeftBrace)? {
                matchers = self.label_matchers()?;
            }
            matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        }
        Ok(VectorSelector {
            name,
            matchers,
            original_offset: 0,
            original_offset_expr: None,
            at: None,
            anchored: false,
            smoothed: false,
            bypass_empty_matcher_check: false,
            span: span(first.start, self.last_end),
        })
    }

    fn label_matchers(&mut self) -> Result<Vec<Matcher>, ParseError> {
        const CONTEXT: &str = "label matching";
        let mut matchers = Vec::new();
        if self.accept(Kind::RightBrace)? {
            return Ok(matchers);
        }
        loop {
            let label = self.peek()?;
            let name = match label.kind {
                Kind::Identifier => {
                    self.take()?;
                    self.name(label)
                }
                Kind::String => {
                    self.take()?;
                    String::from_utf8_lossy(&self.string(label)?).into_owned()
                }
                _ => return Err(self.unexpected_in(label, (CONTEXT, "identifier or \"}\""))),
            };
            let token = self.peek()?;
            match match_operator(token.kind) {
                Some(op) => {
                    self.take()?;
                    let value = self.peek()?;
                    if value.kind != Kind::String {
                        return Err(self.unexpected_in(value, (CONTEXT, "string")));
                    }
                    self.take()?;
                    let value = String::from_utf8_lossy(&self.string(value)?).into_owned();
                    let left = self.options.regex_bytes_max - self.regex_bytes;
                    let matcher = Matcher::new_within(op, name, value, left)
                        .map_err(|e| self.error(label.start, e.to_string()))?;
                    self.regex_bytes += matcher.compiled_bytes().min(left);
                    matchers.push(matcher);
                }
                // A quoted text alone is the metric name.
                None if label.kind == Kind::String => {
                    matchers.push(Matcher::equal(METRIC_NAME, name));
                }
                None => {
                    return Err(self.unexpected_in(token, (CONTEXT, "label matching operator")));
                }
            }
            let token = self.peek()?;
            match token.kind {
                Kind::Comma => {
                    self.take()?;
                    if self.accept(Kind::RightBrace)? {
                        return Ok(matchers);
                    }
                }
                Kind::RightBrace => {
                    self.take()?;
                    return Ok(matchers);
                }
                _ => return Err(self.unexpected_in(token, (CONTEXT, "\",\" or \"}\""))),
            }
        }
    }

    /// `[range]` or `[range:step]` behind an expression.
    fn bracket(&mut self, left: Tall) -> Result<Tall, ParseError> {
        let open = self.take()?;
        self.contexts.push(BRACKET);
        let range = self.positive_duration()?;
        self.contexts.pop();
        let start = left.expr.span().start as usize;
        let token = self.peek()?;
        match token.kind {
            Kind::RightBracket => {
                self.take()?;
                let Expr::Vector(selector) = left.expr else {
                    let text = "ranges only allowed for vector selectors";
                    return Err(self.error(open.start, text));
                };
                if selector.original_offset != 0 || selector.original_offset_expr.is_some() {
                    let text = "no offset modifiers allowed before range";
                    return Err(self.error(open.start, text));
                }
                if selector.at.is_some() {
                    let text = "no @ modifiers allowed before range";
                    return Err(self.error(open.start, text));
                }
                let (range, range_expr) = folded(range);
                let matrix = Expr::Matrix(Box::new(MatrixSelector {
                    selector,
                    range,
                    range_expr,
                    span: span(start, self.last_end),
                }));
                self.grown(matrix, left.height)
            }
            Kind::Colon => {
                self.take()?;
                let mut step = None;
                if self.peek()?.kind != Kind::RightBracket {
                    self.contexts.push(STEP);
                    step = Some(self.positive_duration()?);
                    self.contexts.pop();
                }
                let close = self.peek()?;
                if close.kind != Kind::RightBracket {
                    return Err(self.unexpected_in(close, ("subquery selector", "\"]\"")));
                }
                self.take()?;
                let (range, range_expr) = folded(range);
                let (step, step_expr) = step.map_or((0, None), folded);
                let subquery = Expr::Subquery(Box::new(SubqueryExpr {
                    expr: left.expr,
                    range,
                    range_expr,
                    step,
                    step_expr,
                    original_offset: 0,
                    original_offset_expr: None,
                    at: None,
                    span: span(start, self.last_end),
                }));
                self.grown(subquery, left.height)
            }
            _ => Err(self.unexpected_in(token, ("subquery or range", "\":\" or \"]\""))),
        }
    }

    fn offset(&mut self, target: &mut Expr) -> Result<(), ParseError> {
        self.take()?;
        self.contexts.push(OFFSET);
        let operand = self.offset_operand()?;
        self.contexts.pop();
        let at = target.span().start as usize;
        let (ms, expr, end) = match target {
            Expr::Vector(s) => (
                &mut s.original_offset,
                &mut s.original_offset_expr,
                &mut s.span.end,
            ),
            Expr::Matrix(m) => (
                &mut m.selector.original_offset,
                &mut m.selector.original_offset_expr,
                &mut m.span.end,
            ),
            Expr::Subquery(s) => (
                &mut s.original_offset,
                &mut s.original_offset_expr,
                &mut s.span.end,
            ),
            _ => {
                let text = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return Err(self.error(at, text));
            }
        };
        if *ms != 0 || expr.is_some() {
            return Err(self.error(at, "offset may not be set multiple times"));
        }
        (*ms, *expr) = folded(operand);
        *end = self.last_end as u32;
        Ok(())
    }

    fn at_modifier(&mut self, target: &mut Expr) -> Result<(), ParseError> {
        self.take()?;
        self.contexts.push(AT);
        let token = self.peek()?;
        let start = target.span().start as usize;
        let at = if matches!(token.kind, Kind::Start | Kind::End) {
            self.take()?;
            self.expect(Kind::LeftParen)?;
            self.expect(Kind::RightParen)?;
            if token.kind == Kind::Start {
                AtModifier::Start
            } else {
                AtModifier::End
            }
        } else {
            let seconds = self.signed_number()?;
            // NaN is refused too.
            if !(seconds > i64::MIN as f64 && seconds < i64::MAX as f64) {
                let text = format!(
                    "timestamp out of bounds for @ modifier: {}",
                    six_decimals(seconds)
                );
                return Err(self.error(start, text));
            }
            AtModifier::Timestamp((seconds * 1000.0).round() as i64)
        };
        self.contexts.pop();
        let (slot, end) = match target {
            Expr::Vector(s) => (&mut s.at, &mut s.span.end),
            Expr::Matrix(m) => (&mut m.selector.at, &mut m.span.end),
            Expr::Subquery(s) => (&mut s.at, &mut s.span.end),
            _ => {
                let text = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return Err(self.error(start, text));
            }
        };
        if slot.is_some() {
            return Err(self.error(start, "@ <timestamp> may not be set multiple times"));
        }
        *slot = Some(at);
        *end = self.last_end as u32;
        Ok(())
    }

    fn extended(&mut self, target: &mut Expr) -> Result<(), ParseError> {
        let token = self.take()?;
        let anchored = token.kind == Kind::Anchored;
        let word = if anchored { "anchored" } else { "smoothed" };
        let start = target.span().start as usize;
        if !self.options.extended_range_selectors {
            let text = format!("{word} modifier is experimental and not enabled");
            return Err(self.error(start, text));
        }
        let (selector, outer_end) = match target {
            Expr::Vector(s) => (s, None),
            Expr::Matrix(m) => (&mut m.selector, Some(&mut m.span.end)),
            Expr::Subquery(_) => {
                let text = format!("{word} modifier is not supported for subqueries");
                return Err(self.error(start, text));
            }
            _ => return Err(self.error(start, format!("{word} modifier not implemented"))),
        };
        if anchored {
            selector.anchored = true;
        } else {
            selector.smoothed = true;
        }
        if selector.anchored && selector.smoothed {
            let text = "anchored and smoothed modifiers cannot be used together";
            return Err(self.error(start, text));
        }
        *outer_end.unwrap_or(&mut selector.span.end) = self.last_end as u32;
        Ok(())
    }

    // ---- durations ----

    fn positive_duration(&mut self) -> Result<Expr, ParseError> {
        let duration = self.duration(0)?;
        // What follows is read first: an unreadable text is reported before a wrong number.
        self.peek()?;
        if let Expr::Number(number) = &duration
            && number.value <= 0.0
        {
            let text = "duration must be greater than 0";
            return Err(self.error(number.span.start as usize, text));
        }
        Ok(duration)
    }

    /// What may follow `offset`: one operand, so that `x offset 5m + y` is a sum; only behind a leading parenthesis does arithmetic go on.
    fn offset_operand(&mut self) -> Result<Expr, ParseError> {
        let token = self.peek()?;
        if !matches!(token.kind, Kind::Add | Kind::Sub) {
            return if token.kind == Kind::LeftParen {
                self.duration(0)
            } else {
                self.duration_operand()
            };
        }
        self.take()?;
        let operand = self.duration_operand()?;
        self.signed_duration(token, operand)
    }

    /// A duration expression whose operators bind at least as strongly as `power`.
    fn duration(&mut self, power: u8) -> Result<Expr, ParseError> {
        self.enter()?;
        let mut left = self.duration_operand()?;
        let mut height = 1;
        loop {
            let token = self.peek()?;
            let Some((op, op_power)) = duration_operator(token.kind) else {
                break;
            };
            if op_power < power {
                break;
            }
            self.take()?;
            let right_power = if op == DurationOp::Pow {
                op_power
            } else {
                op_power + 1
            };
            let right = self.duration(right_power)?;
            self.experimental_duration(&left)?;
            if let Expr::Number(number) = &right
                && number.value == 0.0
            {
                match op {
                    DurationOp::Div => return Err(self.error(token.start, "division by zero")),
                    DurationOp::Mod => return Err(self.error(token.start, "modulo by zero")),
                    _ => {}
                }
            }
            height += 1;
            let span = Span {
                start: left.span().start,
                end: right.span().end,
            };
            left = Expr::Duration(Box::new(DurationExpr {
                op,
                lhs: Some(left),
                rhs: Some(right),
                wrapped: false,
                span,
            }));
            left = self.grown(left, height)?.expr;
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn duration_operand(&mut self) -> Result<Expr, ParseError> {
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration => {
                self.take()?;
                let number = self.number_literal(token)?;
                self.in_range(&number, token.start)?;
                Ok(Expr::Number(number))
            }
            Kind::Add | Kind::Sub => {
                self.take()?;
                let operand = self.duration(POWER)?;
                self.signed_duration(token, operand)
            }
            Kind::LeftParen => {
                self.take()?;
                let inside = self.duration(0)?;
                self.expect(Kind::RightParen)?;
                self.experimental_duration(&inside)?;
                let span = span(token.start, self.last_end);
                Ok(Expr::Duration(Box::new(match inside {
                    Expr::Duration(duration) => DurationExpr {
                        wrapped: true,
                        span,
                        ..*duration
                    },
                    number => DurationExpr {
                        op: DurationOp::Add,
                        lhs: None,
                        rhs: Some(number),
                        wrapped: true,
                        span,
                    },
                })))
            }
            Kind::Step | Kind::Range => {
                self.take()?;
                self.expect(Kind::LeftParen)?;
                self.expect(Kind::RightParen)?;
                Ok(Expr::Duration(Box::new(DurationExpr {
                    op: if token.kind == Kind::Step {
                        DurationOp::Step
                    } else {
                        DurationOp::Range
                    },
                    lhs: None,
                    rhs: None,
                    wrapped: false,
                    span: span(token.start, self.last_end),
                })))
            }
            Kind::MinOf | Kind::MaxOf => {
                self.take()?;
                self.expect(Kind::LeftParen)?;
                let lhs = self.duration(0)?;
                self.expect(Kind::Comma)?;
                let rhs = self.duration(0)?;
                self.expect(Kind::RightParen)?;
                Ok(Expr::Duration(Box::new(DurationExpr {
                    op: if token.kind == Kind::MinOf {
                        DurationOp::Min
                    } else {
                        DurationOp::Max
                    },
                    lhs: Some(lhs),
                    rhs: Some(rhs),
                    wrapped: false,
                    span: span(token.start, self.last_end),
                })))
            }
            _ => Err(self.unexpected(token)),
        }
    }

    fn signed_duration(&mut self, sign: Token, operand: Expr) -> Result<Expr, ParseError> {
        let negative = sign.kind == Kind::Sub;
        Ok(match operand {
            Expr::Number(mut number) => {
                if negative {
                    number.value = -number.value;
                }
                self.in_range(&number, sign.start)?;
                number.span.start = sign.start as u32;
                Expr::Number(number)
            }
            operand if negative => {
                let end = operand.span().end as usize;
                Expr::Duration(Box::new(DurationExpr {
                    op: DurationOp::Sub,
                    lhs: None,
                    rhs: Some(operand),
                    wrapped: false,
                    span: span(sign.start, end),
                }))
            }
            operand => operand,
        })
    }

    fn in_range(&self, number: &NumberLiteral, at: usize) -> Result<(), ParseError> {
        if number.value.abs() > DURATION_SECONDS_MAX {
            return Err(self.error(at, "duration out of range"));
        }
        Ok(())
    }

    fn experimental_duration(&self, expr: &Expr) -> Result<(), ParseError> {
        if self.options.duration_expressions {
            return Ok(());
        }
        let text = "experimental duration expression is not enabled";
        Err(self.error(expr.span().start as usize, text))
    }

    // ---- literals ----

    fn signed_number(&mut self) -> Result<f64, ParseError> {
        let mut token = self.peek()?;
        let negative = token.kind == Kind::Sub;
        if matches!(token.kind, Kind::Add | Kind::Sub) {
            self.take()?;
            token = self.peek()?;
        }
        if !matches!(token.kind, Kind::Number | Kind::Duration) {
            return Err(self.unexpected(token));
        }
        self.take()?;
        let value = self.number_literal(token)?.value;
        Ok(if negative { -value } else { value })
    }

    fn number_literal(&self, token: Token) -> Result<NumberLiteral, ParseError> {
        let text = self.name(token);
        let is_duration = token.kind == Kind::Duration;
        let value = if is_duration {
            parse_duration_ms(&text)
                .map(|ms| ms as f64 / 1000.0)
                .map_err(|e| self.error(token.start, e.to_string()))?
        } else {
            parse_number(&text).map_err(|e| self.error(token.start, e))?
        };
        Ok(NumberLiteral {
            value,
            is_duration,
            span: span(token.start, token.end),
        })
    }

    fn string(&self, token: Token) -> Result<Vec<u8>, ParseError> {
        let text = self.text(token);
        unquote(text).map_err(|why| {
            let text = format!("error unquoting string {}: {why}", go_quote(text));
            self.error(token.start, text)
        })
    }
}

/// Milliseconds where they are known, and the expression where it must be evaluated.
fn folded(duration: Expr) -> (i64, Option<Box<DurationExpr>>) {
    match duration {
        Expr::Duration(expr) => (0, Some(expr)),
        Expr::Number(number) => (milliseconds(number.value), None),
        other => unreachable!("durations are numbers or duration expressions, not {other:?}"),
    }
}

/// Go's `%f`.
fn six_decimals(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.6}")
    } else {
        crate::eval::text::go_f(value)
    }
}
