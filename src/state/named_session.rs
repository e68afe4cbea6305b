//! The session of a run of the Python service, as a person names it: the service keeps none beside its runs.

use super::lab::mask_field::MaskField;
use super::look::ViewRequest;
use super::run_view::RunView;
use super::{AppState, Effect};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::files;
use std::path::{Path, PathBuf};
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
    /// Counts how often it was read; its files may change, unlike a run's copies.
    pub revision: u64,
}

/// A session that was read for a run: its mask as it is, since nobody knows how the service cleaned it.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The session.
    pub session: NamedSession,
    /// Its mask at the size at which it would be inferred.
    pub mask: Arc<MaskField>,
    /// Whether a person named it now, rather than before.
    pub is_new: bool,
    /// What a person should know: that it is another session than the report names, or is not remembered.
    pub warnings: Vec<String>,
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

    /// What tells readings of the session's files apart.
    pub fn session_revision(&self) -> u64 {
        let revision = self.named.as_ref().map_or(0, |named| named.revision);
        self.generation + (revision << 32)
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
        reported: view.run.session.clone(),
        session,
    }]
}

/// Takes the folder that a person chose for the run that was open then.
pub(super) fn chosen(state: &mut AppState, generation: u64, dir: PathBuf) -> Vec<Effect> {
    if state
        .run
        .as_ref()
        .is_some_and(|view| view.generation == generation)
    {
        return name(state, Some(dir));
    }
    state.toast("another run is open by now: no session was named", true);
    Vec::new()
}

/// Reads the open run's named session again if its folder is `dir`.
pub(super) fn changed(state: &AppState, dir: &Path) -> Vec<Effect> {
    let named = state.run.as_ref().and_then(|view| view.named.as_ref());
    if named.is_some_and(|named| named.dir == dir) {
        return name(state, None);
    }
    Vec::new()
}

/// Takes the session of a run, or says why it is none.
pub(super) fn named(
    state: &mut AppState,
    run: &Path,
    generation: u64,
    result: Result<Option<Named>, String>,
) {
    let asked = |view: &&mut RunView| view.dir == run && view.generation == generation;
    let Some(view) = state.run.as_mut().filter(asked) else {
        return;
    };
    match result {
        Ok(None) => {}
        Ok(Some(Named {
            mut session,
            mask,
            is_new,
            warnings,
        })) => {
            session.revision = view.named.as_ref().map_or(0, |former| former.revision + 1);
            if view.named.is_none() && !is_new {
                // A run opens at its mask's box.
                view.ask(ViewRequest::MaskBox);
            }
            view.masks.take(MaskRecipe::none(), mask);
            view.named = Some(session);
            view.figures.forget();
            for warning in warnings {
                state.toast(warning, true);
            }
        }
        Err(problem) => state.toast(problem, true),
    }
}
