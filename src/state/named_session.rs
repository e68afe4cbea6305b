//! The session of a run of the Python service, as a person names it: the service keeps none beside its runs.

use super::lab::mask_field::MaskField;
use super::run_view::RunView;
use super::{AppState, Effect};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::files;
use std::path::PathBuf;
use std::sync::Arc;

/// A session's folder that belongs to a run without one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSession {
    /// The folder.
    pub dir: PathBuf,
    /// What the session is called.
    pub name: String,
    /// What a correct fill shows; empty if nobody wrote it down.
    pub expected: String,
    /// The photograph.
    pub image: PathBuf,
    /// The raw mask.
    pub mask: PathBuf,
}

/// A session that was read for a run: its mask as it is, since nobody knows how the service cleaned it.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The session.
    pub session: NamedSession,
    /// Its mask at the size at which it would be inferred.
    pub mask: Arc<MaskField>,
    /// Why it is not remembered for the next time, if it is not.
    pub not_kept: Option<String>,
}

impl RunView {
    /// The photograph that the cells were made of: the run's copy, or the named session's.
    pub fn original_path(&self) -> Option<PathBuf> {
        self.input_path(files::IMAGE, |named| &named.image)
    }

    /// The raw mask: the run's copy, or the named session's.
    pub fn mask_path(&self) -> Option<PathBuf> {
        self.input_path(files::MASK, |named| &named.mask)
    }

    fn input_path(
        &self,
        file: &str,
        of: impl FnOnce(&NamedSession) -> &PathBuf,
    ) -> Option<PathBuf> {
        if self.run.document().is_none() {
            return self.named.as_ref().map(of).cloned();
        }
        (!self.lacking.contains(file)).then(|| self.dir.join(file))
    }

    /// Whether the run's session is known: its own, or one that was named.
    pub fn has_session(&self) -> bool {
        self.run.document().is_some() || self.named.is_some()
    }

    /// What a correct fill shows.
    pub fn expected(&self) -> &str {
        let named = self.named.as_ref().map(|named| named.expected.as_str());
        named.unwrap_or(&self.run.expected)
    }
}

/// Asks which session the open run was made of, as somebody said before or as `session` says now.
pub(super) fn name(state: &AppState, session: Option<PathBuf>) -> Vec<Effect> {
    let without = |view: &&RunView| view.run.document().is_none();
    let Some(view) = state.run.as_ref().filter(without) else {
        return Vec::new();
    };
    let first_done = view
        .grid
        .order()
        .into_iter()
        .find(|key| view.has_picture(key));
    vec![Effect::NameSession {
        run: view.dir.clone(),
        generation: view.generation,
        picture: first_done.map(|key| view.dir.join(view.run.picture_file(&key))),
        session,
    }]
}

/// Takes the session of a run, or says why it is none.
pub(super) fn named(
    state: &mut AppState,
    run: &std::path::Path,
    generation: u64,
    result: Result<Option<Named>, String>,
) {
    let asked = |view: &&mut RunView| view.dir == run && view.generation == generation;
    let Some(view) = state.run.as_mut().filter(asked) else {
        return;
    };
    match result {
        Ok(None) => {}
        Ok(Some(named)) => {
            view.masks.take(MaskRecipe::none(), named.mask);
            view.named = Some(named.session);
            view.figures.forget();
            if let Some(problem) = named.not_kept {
                state.toast(
                    format!("the session is named until the window is closed: {problem}"),
                    true,
                );
            }
        }
        Err(problem) => state.toast(problem, true),
    }
}
