//! The task of one group: wait for the slot, evaluate on a thread that may wait, count what was missed, restore after a start.

use super::Inner;
use super::world::{Server, SystemTimes, wall_ns};
use ::rules::group::{Counters, Evaluation, Group, Remark};
use ::rules::schedule::{next_slot, slot_before};
use ::rules::source::World;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// What a group's task is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Evaluate.
    Go,
    /// Stop: the process ends, or the group goes on in another shape.
    Stop,
    /// Stop, and mark all series as ended once renamed rules have had time to begin theirs.
    End,
}

/// Returns the order that ended the wait, or `None` when the time has come.
async fn until(
    orders: &mut watch::Receiver<Order>,
    wait: impl Future<Output = ()>,
) -> Option<Order> {
    tokio::select! {
        biased;
        order = orders.wait_for(|order| *order != Order::Go) => {
            Some(order.map_or(Order::Stop, |order| *order))
        }
        () = wait => None,
    }
}

pub(super) async fn run(
    inner: Arc<Inner>,
    group: Arc<Group>,
    mut orders: watch::Receiver<Order>,
    restore: bool,
) {
    let order = evaluate_until_told(&inner, &group, &mut orders, restore).await;
    if order == Order::End {
        let two = Duration::from_nanos(group.interval_ns().unsigned_abs()).saturating_mul(2);
        let now_ns = wall_ns();
        tokio::time::sleep(two).await;
        let _ = on_thread(&inner, &group, move |group, world, _| {
            group.end(now_ns, world)
        })
        .await;
    }
}

async fn evaluate_until_told(
    inner: &Arc<Inner>,
    group: &Arc<Group>,
    orders: &mut watch::Receiver<Order>,
    restore: bool,
) -> Order {
    let interval_ns = group.interval_ns();
    let now_ns = wall_ns();
    let mut slot_ns = slot_before(now_ns, group.hash(), interval_ns).saturating_add(interval_ns);
    let first = Instant::now() + Duration::from_nanos((slot_ns - now_ns).max(0).unsigned_abs());
    let mut ticks = interval_at(first, Duration::from_nanos(interval_ns.unsigned_abs()));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for round in 0_u64.. {
        let tick = async {
            ticks.tick().await;
        };
        if let Some(order) = until(orders, tick).await {
            return order;
        }
        if round > 0 {
            let (missed, next) = next_slot(wall_ns(), slot_ns, interval_ns);
            Counters::add(&group.counters().missed, missed.unsigned_abs());
            Counters::add(&group.counters().iterations, missed.unsigned_abs());
            slot_ns = next;
        }
        let at_ns = slot_ns;
        let told = orders.clone();
        let _ = on_thread(inner, group, move |group, world, inner| {
            evaluate(group, world, inner, at_ns, &told)
        })
        .await;
        // The first evaluation may have found too little: targets were not scraped, other rules had not written.
        if restore && round == 1 {
            let options = inner.flags.restore();
            let _ = on_thread(inner, group, move |group, world, _| {
                let began = world.clock.monotonic_ns();
                let remarks = group.restore(world.clock.wall_ns(), options, world);
                let took = world.clock.monotonic_ns() - began;
                group.note(|status| status.restored_ns = took);
                remarks
            })
            .await;
        }
    }
    Order::Stop
}

/// Works on a thread that may wait, when there is one, and logs the remarks.
async fn on_thread(
    inner: &Arc<Inner>,
    group: &Arc<Group>,
    work: impl FnOnce(&Group, &World<'_>, &Inner) -> Vec<Remark> + Send + 'static,
) -> Option<()> {
    let permit = Arc::clone(&inner.evaluating).acquire_owned().await.ok()?;
    let (inner, group) = (Arc::clone(inner), Arc::clone(group));
    let done = tokio::task::spawn_blocking(move || {
        let server = Server(Arc::clone(&inner));
        let clock = SystemTimes::new();
        let remarks = work(&group, &server.world(&clock), &inner);
        for remark in remarks {
            log(&group, &remark);
        }
        drop(permit);
    });
    done.await.ok()
}

fn log(group: &Group, remark: &Remark) {
    tracing::warn!(
        component = "rule manager",
        file = group.file(),
        group = group.name(),
        name = remark.rule,
        index = remark.index,
        err = remark.detail,
        "{}",
        remark.message
    );
}

/// One evaluation of a whole group.
fn evaluate(
    group: &Group,
    world: &World<'_>,
    inner: &Inner,
    at_ns: i64,
    orders: &watch::Receiver<Order>,
) -> Vec<Remark> {
    Counters::add(&group.counters().iterations, 1);
    let wall_ns = world.clock.wall_ns();
    let began = world.clock.monotonic_ns();
    let mut all = Evaluation::default();
    let mut take = |one: Evaluation| {
        inner.rule_time.observe(seconds(one.took_ns));
        all.samples += one.samples;
        all.remarks.extend(one.remarks);
    };
    let batches = match inner.flags.concurrent_max {
        0 => (0..group.rules().len()).map(|index| vec![index]).collect(),
        _ => group.batches(),
    };
    for batch in batches {
        if *orders.borrow() != Order::Go {
            return all.remarks;
        }
        match batch.as_slice() {
            [index] => take(group.evaluate_rule(*index, at_ns, world)),
            several => side_by_side(group, world, inner, at_ns, several)
                .into_iter()
                .for_each(&mut take),
        }
    }
    let mut remarks = std::mem::take(&mut all.remarks);
    group.finish(all.samples, at_ns, world, &mut remarks);
    let took_ns = world.clock.monotonic_ns() - began;
    inner.group_time.observe(seconds(took_ns));
    group.note(|status| {
        status.took_ns = took_ns;
        status.evaluated_at_ns = Some(wall_ns);
    });
    remarks
}

/// Rules that do not need each other: on threads of their own as far as `--rules.max-concurrent-evals` allows, the others here.
fn side_by_side(
    group: &Group,
    world: &World<'_>,
    inner: &Inner,
    at_ns: i64,
    batch: &[usize],
) -> Vec<Evaluation> {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut done = Vec::new();
        for index in batch.iter().copied() {
            match inner.beside.try_acquire() {
                Ok(permit) => threads.push(scope.spawn(move || {
                    let one = group.evaluate_rule(index, at_ns, world);
                    drop(permit);
                    one
                })),
                Err(_) => done.push(group.evaluate_rule(index, at_ns, world)),
            }
        }
        done.extend(threads.into_iter().filter_map(|thread| thread.join().ok()));
        done
    })
}

fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}
