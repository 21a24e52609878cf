//! Calls against hosts on loopback that misbehave as told.

mod auth;
mod deliver;
mod host;
mod invoke;
mod mail;
mod mail_tls;
mod pauses;
mod upsert;
