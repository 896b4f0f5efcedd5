use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Places;
use crate::model::{Generation, Model};

/// The configuration in force, and older ones to which new connections may still refer.
#[derive(Debug)]
pub(super) struct Models {
    newest_first: ArcSwap<VecDeque<Arc<Model>>>,
    /// Where the keys of the newest one are written.
    places: ArcSwap<Places>,
}

impl Models {
    /// Number of configurations to remember. Between `connect` and `accept` of a connection there are fewer changes.
    const KEPT: usize = 16;

    pub(super) fn new(model: Arc<Model>, places: Places) -> Self {
        Self { newest_first: ArcSwap::from_pointee(VecDeque::from([model])), places: ArcSwap::from_pointee(places) }
    }

    /// Returns where the keys of the newest model are written.
    pub(super) fn places(&self) -> Arc<Places> {
        self.places.load_full()
    }

    /// Notes that the keys of the newest model have moved.
    pub(super) fn moved(&self, places: Places) {
        self.places.store(Arc::new(places));
    }

    /// Returns the newest model.
    pub(super) fn current(&self) -> Arc<Model> {
        let models = self.newest_first.load();
        Arc::clone(&models[0])
    }

    /// Returns the configuration of this generation, or the newest one if the generation is unknown (it was another process's).
    pub(super) fn of(&self, generation: Generation) -> Arc<Model> {
        let models = self.newest_first.load();
        Arc::clone(models.iter().find(|model| model.generation == generation).unwrap_or(&models[0]))
    }

    /// Puts a new configuration in force.
    pub(super) fn adopt(&self, model: Arc<Model>) {
        self.newest_first.rcu(|models| {
            std::iter::once(Arc::clone(&model)).chain(models.iter().cloned()).take(Self::KEPT).collect::<VecDeque<_>>()
        });
    }
}
