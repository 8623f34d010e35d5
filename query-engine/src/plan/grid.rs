//! Which steps each node is evaluated at: the query's, one for parts that do not depend on the step, a subquery's own.

use super::{Node, Op, PlanContext, SubqueryWindow};
use crate::eval::value::Grid;

/// Gives every node its grid, users before inputs.
pub(crate) fn assign(nodes: &mut [Node<'_>], context: &PlanContext) {
    if let Some(root) = nodes.last_mut() {
        root.grid = context.grid;
    }
    for i in (0..nodes.len()).rev() {
        let grid = nodes[i].grid;
        let inputs = std::mem::take(&mut nodes[i].inputs);
        for (position, &input) in inputs.iter().enumerate() {
            nodes[input].grid = match &nodes[i].op {
                Op::Repeat => Grid { count: 1, ..grid },
                Op::Windows { window, .. } | Op::Subquery { window } if position == 0 => {
                    inner(*window, grid)
                }
                _ => grid,
            };
        }
        let node = &mut nodes[i];
        node.inputs = inputs;
        match &mut node.op {
            Op::Fragment { spec, .. } => spec.grid = grid,
            Op::Info { info } => info.set_grid(grid),
            _ => {}
        }
    }
}

/// The steps of a subquery seen from `outer`: multiples of its resolution, after the left edge of the first window, up to the last right edge.
fn inner(window: SubqueryWindow, outer: Grid) -> Grid {
    let step = window.step.max(1);
    let empty = Grid {
        start: outer.start,
        step,
        count: 0,
    };
    if outer.count == 0 {
        return empty;
    }
    let end = window.reference.time(outer.last());
    let edge = window
        .reference
        .time(outer.start)
        .saturating_sub(window.range);
    // Go's integer division truncates towards zero, so does Rust's.
    let mut start = step.saturating_mul(edge / step);
    if start <= edge {
        start = start.saturating_add(step);
    }
    if end < start {
        return empty;
    }
    Grid {
        start,
        step,
        count: usize::try_from(end.saturating_sub(start) / step).map_or(usize::MAX, |n| n + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Reference;

    fn inner_of(start: i64, count: usize, range: i64, step: i64, offset: i64) -> (i64, usize) {
        let window = SubqueryWindow {
            reference: Reference { offset, at: None },
            range,
            step,
        };
        let outer = Grid {
            start,
            step: 10,
            count,
        };
        let grid = inner(window, outer);
        (grid.start, grid.count)
    }

    #[test]
    fn steps_are_absolute_multiples_after_the_left_edge() {
        assert_eq!(inner_of(100, 1, 30, 10, 0), (80, 3));
        assert_eq!(inner_of(105, 1, 30, 10, 0), (80, 3));
        assert_eq!(inner_of(100, 2, 30, 10, 0), (80, 4));
        assert_eq!(inner_of(100, 1, 30, 10, 20), (60, 3));
    }

    #[test]
    fn negative_edges_truncate_towards_zero() {
        assert_eq!(inner_of(5, 1, 20, 10, 0), (-10, 2));
        assert_eq!(inner_of(0, 1, 5, 10, 0), (0, 1));
    }

    #[test]
    fn a_window_between_two_multiples_has_no_step() {
        assert_eq!(inner_of(18, 1, 5, 10, 0).1, 0);
    }
}
