//! Policies, from the configuration to what is sent and answered, among callers and third parties who mean no good.

mod cache;
mod cache_model;
mod limits;
mod messages;
mod others;
mod paths;
mod scripted;
mod secrets;
mod templates;
mod upgrades;
