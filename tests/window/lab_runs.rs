//! Runs of the lab's session for the tests beside it, made by the painter.

use super::harness::Desk;
use super::mask_lab::session;
use fill_audit::audit::painted_engine::PaintedEngine;
use fill_audit::audit::{AuditContext, ExtendRequest, RunRequest, execute, extend, start};
use fill_audit::model::cell::{Guidance, Quant, RadiusPx, Steps};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::matrix::Matrix;
use fill_audit::model::prompt;
use fill_audit::model::run::{InferenceSize, MatmulPath, Plan};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// The whole picture at half of the session's size.
pub const WHOLE: InferenceSize = InferenceSize::Whole { long_side_px: 256 };

/// The mask's box alone, enlarged.
pub const CROP: InferenceSize = InferenceSize::Crop {
    long_side_px: 256,
    margin: 0.05,
};

pub fn radii(px: &[f64]) -> Vec<RadiusPx> {
    px.iter()
        .map(|px| RadiusPx::new(*px).expect("a radius"))
        .collect()
}

/// One quant, two guidances, two steps at these dilations.
pub fn matrix(dilations: &[f64]) -> Matrix {
    Matrix {
        quants: vec![Quant::new("Q4_0").expect("a quant")],
        guidances: [4.0, 10.0]
            .map(|g| Guidance::new(g).expect("a guidance"))
            .to_vec(),
        steps: vec![Steps::new(2).expect("steps")],
        seeds: vec![42],
        prompts: vec![0],
        dilations: radii(dilations),
    }
}

fn with_context<T>(work: impl FnOnce(&mut PaintedEngine, &mut AuditContext<'_>) -> T) -> T {
    let cancel = AtomicBool::new(false);
    let mut engine = PaintedEngine::default();
    let mut context = AuditContext {
        clock: &|| "2026-11-21T09:00:00Z".parse().expect("a time"),
        cancel: &cancel,
        observer: &mut |_| {},
    };
    work(&mut engine, &mut context)
}

/// A finished run of the session.
pub fn run_of(desk: &Desk, plan: Plan, inference: InferenceSize) -> PathBuf {
    run_in(desk, session(desk), plan, inference)
}

/// A finished run of a session's folder.
pub fn run_in(desk: &Desk, session_dir: PathBuf, plan: Plan, inference: InferenceSize) -> PathBuf {
    let request = RunRequest {
        session_dir,
        runs_dir: desk.folder.path().join("runs"),
        run_id: None,
        is_new: false,
        plan,
        prompts: vec![prompt::PRODUCTION.to_owned()],
        inference,
        device: "cpu".to_owned(),
        matmul: MatmulPath::Exact,
        gates_override: None,
    };
    with_context(|engine, context| {
        let owned = start(&request, engine, context).expect("started");
        execute(&owned, engine, None, context).expect("run");
        owned.folder
    })
}

/// That run at 10 px.
pub fn own_run(desk: &Desk, recipe: &MaskRecipe) -> PathBuf {
    let plan = Plan {
        matrix: matrix(&[10.0]),
        recipe: recipe.clone(),
    };
    run_of(desk, plan, WHOLE)
}

/// The same cells again with another recipe, as the audit does it.
pub fn run_again(run: &Path, recipe: &MaskRecipe) {
    let request = ExtendRequest {
        matrix: matrix(&[f64::from(recipe.dilate_px)]),
        recipe: recipe.clone(),
        prompts: vec![prompt::PRODUCTION.to_owned()],
    };
    with_context(|engine, context| {
        let owned = extend(run, &request, None, engine, context).expect("extended");
        execute(&owned, engine, None, context).expect("run");
    });
}
