//! What is looked at before anything is loaded: every file that a run needs, and memory.

use super::AuditError;
use super::context::AuditContext;
use super::engine::{Examination, FillEngine, RunNeeds};
use super::event::AuditEvent;
use super::start::engine_error;

/// Has the engine look at what a run needs.
///
/// # Errors
/// [`AuditError::Unfit`] with everything that is wrong, not only the first; or a cancel.
pub(super) fn examine(
    engine: &mut dyn FillEngine,
    needs: &RunNeeds<'_>,
    context: &mut AuditContext<'_>,
) -> Result<Examination, AuditError> {
    context.tell(AuditEvent::CheckingWeights);
    let found = engine
        .examine(needs, &mut context.poll())
        .map_err(engine_error)?;
    if found.errors.is_empty() {
        return Ok(found);
    }
    Err(AuditError::Unfit {
        problems: found.errors,
    })
}

/// [`examine`], telling what was found: warnings, and what each stage will need.
pub(super) fn announce(
    engine: &mut dyn FillEngine,
    needs: &RunNeeds<'_>,
    context: &mut AuditContext<'_>,
) -> Result<(), AuditError> {
    let found = examine(engine, needs, context)?;
    for text in found.warnings {
        tracing::warn!("{text}");
        context.tell(AuditEvent::Warning { text });
    }
    for line in &found.memory {
        tracing::info!("{line}");
    }
    context.tell(AuditEvent::Memory {
        lines: found.memory,
    });
    Ok(())
}
