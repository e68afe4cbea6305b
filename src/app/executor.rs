//! What makes runs: this machine, a worker, the Python service. Each takes the same jobs and tells the same
//! events, so that the page of a run does not know which it is.

use super::runner::RunJob;

/// One that makes runs.
pub trait Executor {
    /// Takes a job; what comes of it is told by events, the last of which is
    /// [`crate::state::Event::RunEnded`].
    ///
    /// # Errors
    /// Why it takes none now.
    fn submit(&mut self, job: RunJob) -> Result<(), String>;

    /// Asks the run under way to stop. What is finished is kept.
    fn cancel(&self);

    /// Stops following the run under way, which goes on; where it cannot, nothing happens.
    fn leave(&self);
}
