mod holds;
mod letters;
mod order;
mod payload;
mod volume;
mod world;
