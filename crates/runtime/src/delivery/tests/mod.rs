mod batch;
mod holds;
mod letters;
mod order;
mod payload;
mod targets;
mod volume;
mod world;
