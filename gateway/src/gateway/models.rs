use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::{Generation, Model};

/// The configuration in force, and the ones before it that running connections may still name.
#[derive(Debug)]
pub(super) struct Models(ArcSwap<VecDeque<Arc<Model>>>);

impl Models {
    /// A connection lives between `connect` and `accept` for less than this many changes.
    const KEPT: usize = 16;

    pub(super) fn new(model: Arc<Model>) -> Self {
        Self(ArcSwap::from_pointee(VecDeque::from([model])))
    }

    /// Returns the newest model.
    pub(super) fn current(&self) -> Arc<Model> {
        let models = self.0.load();
        Arc::clone(&models[0])
    }

    /// The one with this generation; one that is not known (it was another process's) is the newest now.
    pub(super) fn of(&self, generation: Generation) -> Arc<Model> {
        let models = self.0.load();
        Arc::clone(models.iter().find(|model| model.generation == generation).unwrap_or(&models[0]))
    }

    /// Puts a new one in force.
    pub(super) fn adopt(&self, model: Arc<Model>) {
        self.0.rcu(|models| {
            std::iter::once(Arc::clone(&model)).chain(models.iter().cloned()).take(Self::KEPT).collect::<VecDeque<_>>()
        });
    }
}
