//! The masks of an open run: one for each clean-up that its cells were made with.
//!
//! Cells that differ in their dilation share a mask, which the shader grows; cells that were cleaned
//! otherwise, or that show the lab's recipe, have one of their own.

use super::lab::mask_field::MaskField;
use super::run_view::RunView;
use crate::model::cell::CellKey;
use crate::model::mask_recipe::MaskRecipe;
use std::sync::Arc;

/// The masks that are there, and the clean-ups that were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunMasks {
    asked: Vec<MaskRecipe>,
    there: Vec<(MaskRecipe, Arc<MaskField>)>,
}

impl RunMasks {
    /// The mask that a recipe cleans, with its place among all of them; `None` until it is there.
    pub fn of(&self, recipe: &MaskRecipe) -> Option<(usize, &Arc<MaskField>)> {
        let mut there = self.there.iter().enumerate();
        let (at, (_, field)) = there.find(|(_, (own, _))| is_same_clean_up(own, recipe))?;
        Some((at, field))
    }

    /// All that are there, in the order in which they came.
    pub fn all(&self) -> impl Iterator<Item = &Arc<MaskField>> {
        self.there.iter().map(|(_, field)| field)
    }

    /// Those of `recipes` that nobody asked for yet, each clean-up once. They count as asked for.
    pub fn ask(&mut self, recipes: impl IntoIterator<Item = MaskRecipe>) -> Vec<MaskRecipe> {
        let mut new = Vec::new();
        for recipe in recipes {
            let is_known = |own: &MaskRecipe| is_same_clean_up(own, &recipe);
            if !self.asked.iter().any(is_known) {
                self.asked.push(recipe.clone());
                new.push(recipe);
            }
        }
        new
    }

    /// Takes back that a mask was asked for: it could not be read, and may be tried again.
    pub fn give_up(&mut self, recipe: &MaskRecipe) {
        self.asked.retain(|own| !is_same_clean_up(own, recipe));
    }

    /// Forgets the masks of other clean-ups than these.
    pub fn keep_only(&mut self, recipes: &[MaskRecipe]) {
        let is_kept = |own: &MaskRecipe| recipes.iter().any(|recipe| is_same_clean_up(own, recipe));
        self.asked.retain(is_kept);
        self.there.retain(|(own, _)| is_kept(own));
    }

    /// Takes a mask that was asked for.
    pub fn take(&mut self, recipe: MaskRecipe, field: Arc<MaskField>) {
        self.there
            .retain(|(own, _)| !is_same_clean_up(own, &recipe));
        self.there.push((recipe, field));
    }
}

impl RunView {
    /// The recipe whose clean-up a cell's mask shows: the lab's where it was handed over, else the cell's
    /// own. `None` where that is unknown.
    pub fn mask_recipe_of(&self, key: &CellKey) -> Option<MaskRecipe> {
        self.lab_recipe
            .clone()
            .or_else(|| self.run.recipe_of(key))
            .or_else(|| self.named.as_ref().map(|_| MaskRecipe::none()))
    }

    /// The recipe of the mask that the run as a whole is shown with: its own, or none at all for a session
    /// that was named, since nobody knows how the service cleaned it.
    pub fn own_mask_recipe(&self) -> Option<MaskRecipe> {
        let named = self.named.as_ref().map(|_| MaskRecipe::none());
        let document = self.run.document();
        document.map(|own| own.plan.recipe.clone()).or(named)
    }

    /// The recipes whose masks the run needs, its own first.
    pub(super) fn mask_recipes(&self) -> Vec<MaskRecipe> {
        let own = self.run.document().map(|document| &document.plan.recipe);
        let mut recipes: Vec<MaskRecipe> = own.cloned().into_iter().collect();
        let others = self.run.cells.keys().filter(|key| key.recipe.is_some());
        for recipe in others.filter_map(|key| self.run.recipe_of(key)) {
            if !recipes.iter().any(|own| is_same_clean_up(own, &recipe)) {
                recipes.push(recipe);
            }
        }
        if own.is_some() {
            recipes.extend(self.lab_recipe.clone());
        }
        recipes
    }
}

/// Whether two recipes leave the same of a mask before it is grown.
fn is_same_clean_up(one: &MaskRecipe, other: &MaskRecipe) -> bool {
    let grown_alike = MaskRecipe {
        dilate_px: one.dilate_px,
        feather_sigma_px: one.feather_sigma_px,
        max_coverage: one.max_coverage,
        ..other.clone()
    };
    *one == grown_alike
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_clean_up_is_asked_for_once_whatever_grows_from_it() {
        let own = MaskRecipe::default();
        let wider = MaskRecipe {
            dilate_px: own.dilate_px + 5.0,
            feather_sigma_px: own.feather_sigma_px + 1.0,
            ..own.clone()
        };
        let opened = MaskRecipe {
            open_px: own.open_px + 1.0,
            ..own.clone()
        };
        let mut masks = RunMasks::default();
        assert_eq!(
            masks.ask([own.clone(), wider.clone()]),
            std::slice::from_ref(&own)
        );
        assert_eq!(masks.ask([wider, opened.clone()]), [opened]);
        assert_eq!(masks.ask([own.clone()]), []);
        // One that could not be read is asked for at the next reading.
        masks.give_up(&own);
        assert_eq!(masks.ask([own.clone()]), [own]);
    }
}
