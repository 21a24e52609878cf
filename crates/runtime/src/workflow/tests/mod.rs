mod audit;
mod events;
mod executions;
mod maps;
mod memory;
mod nested;
mod pages;
mod world;
