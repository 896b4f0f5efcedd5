//! Values that a policy stores in a message: each type has one slot. The engine does not know the types.

use std::any::Any;
use std::fmt::Debug;

/// A value that can be stored in a slot.
pub(in crate::policy) trait Slot: Any + Debug + Send + Sync {
    fn cloned(&self) -> Box<dyn Slot>;
}

impl<T: Any + Clone + Debug + Send + Sync> Slot for T {
    fn cloned(&self) -> Box<dyn Slot> {
        Box::new(self.clone())
    }
}

/// The slots of a message, in which there is at most one value of a type. Empty slots take no allocation.
#[derive(Debug, Default)]
pub(in crate::policy) struct Slots(Vec<Box<dyn Slot>>);

impl Clone for Slots {
    fn clone(&self) -> Self {
        Self(self.0.iter().map(|slot| (**slot).cloned()).collect())
    }
}

impl Slots {
    /// Returns the value of this type.
    pub(in crate::policy) fn get<T: Slot>(&self) -> Option<&T> {
        self.0.iter().find_map(|slot| (&**slot as &dyn Any).downcast_ref())
    }

    /// Returns the value of this type, to change it.
    pub(in crate::policy) fn get_mut<T: Slot>(&mut self) -> Option<&mut T> {
        self.0.iter_mut().find_map(|slot| (&mut **slot as &mut dyn Any).downcast_mut())
    }

    /// Stores a value in the place of one of its type.
    pub(in crate::policy) fn set<T: Slot>(&mut self, value: T) {
        match self.get_mut::<T>() {
            Some(place) => *place = value,
            None => self.0.push(Box::new(value)),
        }
    }

    /// Returns the value of this type to change it, a new one if there is none.
    pub(in crate::policy) fn get_or_insert<T: Slot + Default>(&mut self) -> &mut T {
        let known = self.0.iter().position(|slot| (&**slot as &dyn Any).is::<T>());
        let index = known.unwrap_or_else(|| {
            self.0.push(Box::<T>::default());
            self.0.len() - 1
        });
        match (&mut *self.0[index] as &mut dyn Any).downcast_mut() {
            Some(value) => value,
            None => unreachable!("the slot at this index has this type"),
        }
    }

    /// Removes all values.
    pub(in crate::policy) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_slot_and_a_clone_is_independent() {
        let mut slots = Slots::default();
        assert_eq!(slots.get::<u8>(), None);
        slots.set(1_u8);
        slots.set("text".to_owned());
        let before = slots.clone();
        slots.set(2_u8);
        slots.get_mut::<String>().unwrap().push('s');
        assert_eq!((slots.get::<u8>(), slots.get::<String>().unwrap().as_str()), (Some(&2), "texts"));
        assert_eq!((before.get::<u8>(), before.get::<String>().unwrap().as_str()), (Some(&1), "text"));
        slots.clear();
        assert_eq!(slots.get::<u8>(), None);
    }
}
