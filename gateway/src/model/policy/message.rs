/// What happens where there is something of that name already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exists {
    /// It is added.
    Append,
    /// What is there is removed, and nothing comes in its place.
    Delete,
    /// It takes the place of what is there.
    #[default]
    Override,
    /// What is there stays.
    Skip,
}
