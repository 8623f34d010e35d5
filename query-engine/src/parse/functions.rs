//! The table of PromQL functions: names, argument types, return types, switches.

use super::ast::ValueType;

/// A function as the parser and the type checker know it.
#[derive(Debug, PartialEq)]
pub struct Function {
    /// Name as written.
    pub name: &'static str,
    /// Types of the arguments.
    pub args: &'static [ValueType],
    /// 0: exactly `args`; n > 0: the last n arguments are optional; -1: the last may repeat.
    pub variadic: i32,
    /// Type of the result.
    pub return_type: ValueType,
    /// Needs `--enable-feature=promql-experimental-functions`.
    pub experimental: bool,
}
