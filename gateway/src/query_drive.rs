//! Who drives a query: the worker that took the request as long as the work is light, a thread of its own from the query's heavy sign on.
//!
//! Promise: however long the coordinator of a query works at a stretch, the worker goes on serving others, sees the client go away and sees the
//! time limit pass. Light queries cross no thread. How many threads there can be is bounded by `--query.max-concurrency`: only queries that have
//! a slot give the sign.

use query_engine::eval::budget::HeavySign;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use tokio::runtime::Handle;

/// Waits for `query`; `None` when it panicked on its thread. When this future is dropped, a query that has moved goes on until it looks at its
/// cancel flag.
pub(crate) async fn drive<T: Send + 'static>(
    query: impl Future<Output = T> + Send + 'static,
    heavy: HeavySign,
) -> Option<T> {
    let mut query: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(query);
    let done = poll_fn(|context| match query.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if heavy.is_given() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    if let Some(value) = done.await {
        return Some(value);
    }
    let runtime = Handle::current();
    let moved = tokio::task::spawn_blocking(move || runtime.block_on(query));
    moved.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    #[test]
    fn light_work_stays_and_heavy_work_moves() {
        let here = thread::current().id();
        let light = async {
            tokio::task::yield_now().await;
            thread::current().id()
        };
        assert_eq!(run(drive(light, HeavySign::default())), Some(here));
        let sign = HeavySign::default();
        let heavy = {
            let sign = sign.clone();
            async move {
                let before = thread::current().id();
                sign.give().await;
                tokio::task::yield_now().await;
                (before, thread::current().id())
            }
        };
        let (before, after) = run(drive(heavy, sign)).unwrap();
        assert_eq!(before, here);
        assert_ne!(after, here);
    }

    #[test]
    fn a_panic_on_the_other_thread_is_no_answer() {
        let sign = HeavySign::default();
        let panics = {
            let sign = sign.clone();
            async move {
                sign.give().await;
                assert!(!sign.is_given(), "as it should");
            }
        };
        assert_eq!(run(drive(panics, sign)), None);
    }
}
