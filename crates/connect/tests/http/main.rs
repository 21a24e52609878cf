//! Calls against hosts on loopback that misbehave as told.

mod auth;
mod deliver;
mod host;
mod invoke;
mod pauses;
mod upsert;
