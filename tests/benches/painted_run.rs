//! Runs whose cells are painted, to be opened and looked at.

use fill_audit::audit::painted_engine::PaintedEngine;
use fill_audit::audit::{AuditContext, AuditError, RunRequest, execute, start};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::matrix::Matrix;
use fill_audit::model::prompt;
use fill_audit::model::run::{InferenceSize, MatmulPath, Plan};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A finished run of painted cells over the fixture's photograph of 451 by 300 pixels;
/// the matrix dilates by 4 pixels.
pub fn painted_run(runs_dir: &Path, matrix: Matrix) -> Result<PathBuf, Box<dyn Error>> {
    let recipe = MaskRecipe {
        min_component_px: 4,
        open_px: 0.0,
        dilate_px: 4.0,
        ..MaskRecipe::default()
    };
    let request = RunRequest {
        session_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/service-run"),
        runs_dir: runs_dir.to_owned(),
        run_id: None,
        is_new: true,
        plan: Plan { matrix, recipe },
        prompts: vec![prompt::PRODUCTION.to_owned()],
        inference: InferenceSize::Whole { long_side_px: 448 },
        device: "cpu".to_owned(),
        matmul: MatmulPath::Exact,
        gates_override: None,
    };
    let mut engine = PaintedEngine::default();
    let cancel = AtomicBool::new(false);
    let mut context = AuditContext {
        clock: &jiff::Timestamp::now,
        cancel: &cancel,
        observer: &mut |_| {},
    };
    let owned = start(&request, &mut engine, &mut context)?;
    let summary = execute(&owned, &mut engine, None, &mut context)?;
    if summary.left > 0 {
        return Err(Box::new(AuditError::Refused("cells are left".to_owned())));
    }
    Ok(summary.folder)
}
