//! What a run needs from its surroundings: the time, a way to be stopped, and someone to tell.

use super::engine::EngineEvent;
use super::event::AuditEvent;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// The clock, the cancel flag and the observer of one go at a run.
pub struct AuditContext<'a> {
    /// The time now; a test gives its own.
    pub clock: &'a dyn Fn() -> jiff::Timestamp,
    /// Set by anyone, at any time, to stop after the current block.
    pub cancel: &'a AtomicBool,
    /// Told everything, in order. It must not wait.
    pub observer: &'a mut dyn FnMut(AuditEvent),
}

impl AuditContext<'_> {
    /// The time now.
    pub fn now(&self) -> jiff::Timestamp {
        (self.clock)()
    }

    /// The time now, UTC, RFC 3339, to the second.
    pub fn timestamp(&self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Whether someone asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    pub(super) fn tell(&mut self, event: AuditEvent) {
        (self.observer)(event);
    }

    /// An engine's hook that only looks at the cancel flag.
    pub(super) fn poll(&self) -> impl FnMut(EngineEvent) -> ControlFlow<()> + use<'_> {
        let cancel = self.cancel;
        move |_| flow(cancel)
    }
}

pub(super) fn flow(cancel: &AtomicBool) -> ControlFlow<()> {
    if cancel.load(Ordering::Relaxed) {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}
