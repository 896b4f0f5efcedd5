use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::{Generation, Model};

/// The configuration in force, and older ones to which new connections may still refer.
#[derive(Debug)]
pub(super) struct Models(ArcSwap<VecDeque<Arc<Model>>>);

impl Models {
    /// Number of configurations to remember. Between `connect` and `accept` of a connection there are fewer changes.
    const KEPT: usize = 16;

    pub(super) fn new(model: Arc<Model>) -> Self {
        Self(ArcSwap::from_pointee(VecDeque::from([model])))
    }

    /// Returns the newest model.
    pub(super) fn current(&self) -> Arc<Model> {
        let models = self.0.load();
        Arc::clone(&models[0])
    }

    /// Returns the configuration of this generation, or the newest one if the generation is unknown (it was another process's).
    pub(super) fn of(&self, generation: Generation) -> Arc<Model> {
        let models = self.0.load();
        Arc::clone(models.iter().find(|model| model.generation == generation).unwrap_or(&models[0]))
    }

    /// Puts a new configuration in force.
    pub(super) fn adopt(&self, model: Arc<Model>) {
        self.0.rcu(|models| {
            std::iter::once(Arc::clone(&model)).chain(models.iter().cloned()).take(Self::KEPT).collect::<VecDeque<_>>()
        });
    }
}
